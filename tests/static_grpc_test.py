# SPDX-License-Identifier: Apache-2.0
"""CMake tests whether gRPC's archives link, and uses the shared library if they do not."""

import os
import re
import subprocess
import tempfile
import unittest

from tests.harness.environment import ROOT


PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES C)
find_package(Threads REQUIRED)
add_library(PkgConfig::GRPC INTERFACE IMPORTED)
set(COUPONSD_STATIC_GRPC ON)
set(GRPC_VERSION 1)
set(GRPC_STATIC_LIBRARIES grpc gpr)
include("{ROOT}/cmake/static_grpc.cmake")
"""


def configured(*options):
    """Returns how CMake says that it links gRPC. Without pkg-config, which would take most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(PROJECT)
        done = subprocess.run(["cmake", "-S", folder, "-B", os.path.join(folder, "build"), *options],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise AssertionError(done.stdout)
        return re.search(r"^-- gRPC core 1: (.*)$", done.stdout, re.M)[1]


class StaticGrpc(unittest.TestCase):
    def test_archives_that_do_not_link_give_way_to_the_shared_library(self):
        with tempfile.NamedTemporaryFile(suffix=".a") as broken:
            subprocess.run(["ar", "rcs", f"{broken.name}.a"], check=True)
            os.replace(f"{broken.name}.a", broken.name)
            self.assertEqual(configured(f"-DARCHIVE_OF_grpc={broken.name}"),
                             "shared, libgrpc.a does not link with this system's libraries")


if __name__ == "__main__":
    unittest.main()
