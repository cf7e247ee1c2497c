# SPDX-License-Identifier: Apache-2.0
"""Traces as an OpenTelemetry Collector sees them: the tests of whole traces, with that program as the receiver."""

import unittest

from tests.harness.collector import Collector
from tests.scenario import traces_test


class OneTraceInACollector(traces_test.OneTrace):
    def receiver(self, answer=200):
        self.assertEqual(answer, 200, "a collector gives its own answers")
        collector = Collector()
        self.addCleanup(collector.close)
        return collector


if __name__ == "__main__":
    unittest.main()
