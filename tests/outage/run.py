# SPDX-License-Identifier: Apache-2.0
"""Runs the outage tests, one after the other on one set of private servers, and prints their figures as a table."""

import signal
import sys
import unittest

from tests.outage import outage

PARTS = ("backends_test", "processes_test", "clock_test")

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that ctest's time-out leaves no server behind
    suite = unittest.TestSuite()
    loader = unittest.defaultTestLoader
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    loader.testNamePatterns = [f"*{name}*" for name in names] or None
    for part in PARTS:
        suite.addTests(loader.loadTestsFromName(f"tests.outage.{part}"))
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        outage.Outage.put_away()
        outage.print_figures()
    if not result.testsRun:
        print(f"no outage test matches {names}", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
