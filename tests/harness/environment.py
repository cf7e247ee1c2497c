# SPDX-License-Identifier: Apache-2.0
"""The environment variables that configure the tests."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD_DIR", os.path.join(ROOT, "build", "release"))
# The preset that was built.
PRESET = os.environ.get("PRESET", "release")
SANITIZED = PRESET in ("asan", "tsan")
# A build without src/edge has no limits on connections, and judges no frames.
HAS_EDGE = PRESET != "no-edge"
# Sanitizers are slow. Deadlines detect a hang and do not measure speed, so they are multiplied by this.
PATIENCE = 3 if SANITIZED else 1


def server(name):
    """POSTGRES_URL, REDIS_URL, KAFKA_BROKERS or SERVERS_DIR."""
    try:
        return os.environ[name]
    except KeyError:
        raise AssertionError(f"{name} is not set: run `./dev up` and `. .dev/servers/env` first, or run this through"
                             " ./dev") from None
