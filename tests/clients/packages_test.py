# SPDX-License-Identifier: Apache-2.0
"""The packages of the Python and the Node.js client, as their registries get them: built, installed into an empty
project, and used there on a real couponsd. Nothing is uploaded."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

from tests.harness import BUILD, ROOT, Scenario

OUTPUT = os.path.join(os.path.dirname(BUILD), "clients")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def package(language):
    """Builds the package. Returns the folder of the build."""
    folder = os.path.join(OUTPUT, language)
    done = subprocess.run([os.path.join(ROOT, "clients", language, "smoke.sh"), "package"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, "CLIENT_BUILD_DIR": folder})
    assert done.returncode == 0, done.stdout
    return folder


class Packages(Scenario):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.project = folder.name
        self.server = self.start()
        self.coupon = self.create(self.server, 1)

    def run_in_project(self, *command, **environment):
        return subprocess.run(command, cwd=self.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, **environment})

    def expect_a_ticket_and_a_refusal(self, *command):
        first = self.run_in_project(*command, self.server.grpc, str(self.coupon), "1")
        self.assertEqual((first.returncode, first.stdout), (0, "accepted, ticket 1\n"), first.stdout)
        second = self.run_in_project(*command, self.server.grpc, str(self.coupon), "2")
        self.assertEqual((second.returncode, second.stdout.strip()), (1, "refused: SOLD_OUT"))

    def test_python(self):
        dist = os.path.join(package("python"), "dist")
        wheel, = [name for name in os.listdir(dist) if name.endswith(".whl")]
        source, = [name for name in os.listdir(dist) if name.endswith(".tar.gz")]
        names = zipfile.ZipFile(os.path.join(dist, wheel)).namelist()
        for wanted in ("couponsd/py.typed", "coupon/v1/coupon_service_pb2_grpc.py", "coupon/v1/publish_pb2.pyi"):
            self.assertIn(wanted, names)
        self.assertTrue(any(name.endswith("licenses/LICENSE") for name in names), names)
        with tarfile.open(os.path.join(dist, source)) as archive:
            inside = {name.partition("/")[2] for name in archive.getnames()}
        self.assertLessEqual({"LICENSE", "README.md", "pyproject.toml", "couponsd/__init__.py"}, inside)
        subprocess.run([sys.executable, "-m", "venv", os.path.join(self.project, "venv")], check=True)
        python = os.path.join(self.project, "venv", "bin", "python")
        installed = self.run_in_project(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                                        os.path.join(dist, wheel))
        self.assertEqual(installed.returncode, 0, installed.stdout)
        shutil.copy(os.path.join(ROOT, "clients", "python", "example.py"), self.project)
        self.expect_a_ticket_and_a_refusal(python, "example.py")

    def test_node(self):
        pack = os.path.join(package("node"), "pack")
        tarball, = [os.path.join(pack, name) for name in os.listdir(pack)]
        with tarfile.open(tarball) as archive:
            inside = set(archive.getnames())
        self.assertLessEqual({"package/LICENSE", "package/README.md", "package/dist/couponsd/index.js",
                              "package/dist/couponsd/index.d.ts"}, inside)
        self.assertEqual([name for name in inside if "smoke" in name or "node_modules" in name], [])
        with open(os.path.join(self.project, "package.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "shop", "private": True}, file)
        installed = self.run_in_project("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent",
                                        tarball)
        self.assertEqual(installed.returncode, 0, installed.stdout)
        shutil.copy(os.path.join(ROOT, "clients", "node", "example.mjs"), self.project)
        self.expect_a_ticket_and_a_refusal("node", "example.mjs")

    def test_their_versions_are_that_of_couponsd(self):
        version = re.search(r"project\(couponsd VERSION ([0-9.]+)", read("CMakeLists.txt"))[1]
        self.assertEqual(re.search(r'(?m)^version = "(.*)"', read("clients", "python", "pyproject.toml"))[1], version)
        self.assertEqual(json.loads(read("clients", "node", "package.json"))["version"], version)


if __name__ == "__main__":
    unittest.main()
