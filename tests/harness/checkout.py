# SPDX-License-Identifier: Apache-2.0
"""The files of the checkout, for tests that read the sources."""

import os
import subprocess
import unittest

from tests.harness.environment import ROOT


def checkout_files(*patterns):
    """The files that git tracks or would add, relative to ROOT."""
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard", "--",
                             *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        raise unittest.SkipTest(f"needs a git checkout to list the files: {listed.stderr.strip()}")
    return sorted(name for name in set(listed.stdout.split("\0")) - {""} if os.path.exists(os.path.join(ROOT, name)))
