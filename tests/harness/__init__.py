# SPDX-License-Identifier: Apache-2.0
"""What the tests in Python share: a couponsd, the servers it needs, and waiting for conditions."""

from tests.harness.environment import BUILD, HAS_EDGE, PATIENCE, ROOT, SANITIZED
from tests.harness.scenario import CrowdScenario, Scenario
from tests.harness.waiting import wait_until

__all__ = ["BUILD", "HAS_EDGE", "PATIENCE", "ROOT", "SANITIZED", "CrowdScenario", "Scenario", "wait_until"]
