# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, with a deadline."""

import time

from tests.harness.environment import PATIENCE


def wait_until(condition, seconds=30, every=0.05, what="condition"):
    """Returns the first true value of condition(). Raises AssertionError after `seconds`, times PATIENCE."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * PATIENCE} s: {what}")
        time.sleep(every)
