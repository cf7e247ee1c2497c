# SPDX-License-Identifier: Apache-2.0
"""docs/reference/openapi.yaml is current, valid, and has every RPC."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

from tests.harness import ROOT

CURRENT = os.path.join(ROOT, "docs", "reference", "openapi.yaml")
VALIDATOR = "openapi-spec-validator==0.7.1"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class OpenApi(unittest.TestCase):
    def operations(self):
        for path in yaml.safe_load(read(CURRENT))["paths"].values():
            yield from path.values()

    def test_it_is_what_tools_openapi_makes(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(ROOT, "tools", "openapi.sh"), folder], check=True)
            self.assertTrue(read(CURRENT) == read(os.path.join(folder, "openapi.yaml")), "run tools/openapi.sh")

    def test_every_rpc_has_a_path_and_an_error(self):
        wanted = []
        for proto in glob.glob(os.path.join(ROOT, "proto", "coupon", "v1", "*_service.proto")):
            text = read(proto)
            service, = re.findall(r"(?m)^service (\w+) \{", text)
            wanted += [f"{service}_{name}" for name in re.findall(r"(?m)^  rpc (\w+)\(", text)]
        self.assertGreater(len(wanted), 20)
        self.assertEqual(sorted(each["operationId"] for each in self.operations()), sorted(wanted))
        for each in self.operations():
            schema = each["responses"]["default"]["content"]["application/json"]["schema"]
            self.assertEqual(schema, {"$ref": "#/components/schemas/Status"}, each["operationId"])

    def test_it_is_valid(self):
        folder = os.path.join(ROOT, "build", "tools", VALIDATOR.replace("==", "-"))
        if not os.path.exists(folder):
            part = f"{folder}.{os.getpid()}"
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                            part, VALIDATOR], check=True)
            os.rename(part, folder)
        done = subprocess.run([sys.executable, "-m", "openapi_spec_validator", CURRENT], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": folder})
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
