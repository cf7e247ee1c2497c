# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the Python tests: couponsd processes, the servers they need, and waiting for conditions."""

from tests.harness.environment import BUILD, HAS_EDGE, PATIENCE, ROOT, SANITIZED
from tests.harness.scenario import CrowdScenario, Scenario
from tests.harness.waiting import wait_until

__all__ = ["BUILD", "HAS_EDGE", "PATIENCE", "ROOT", "SANITIZED", "CrowdScenario", "Scenario", "wait_until"]
