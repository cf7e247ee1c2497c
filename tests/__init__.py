# SPDX-License-Identifier: Apache-2.0
"""Tests in Python. Run one from the root of the repository, as a module:

    ./dev up && . .dev/servers/env && python3 -m tests.scenario.seed_test -v

BUILD_DIR names the build to test (default: build/release).
"""
