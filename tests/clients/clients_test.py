# SPDX-License-Identifier: Apache-2.0
"""clients_test.py LANGUAGE: builds clients/LANGUAGE and runs its smoke program against a couponsd.

The program begins while nothing listens, so that its first call has to be tried again, and couponsd's queues are short,
so that bursts are refused as OVERLOADED. The test compares what the program reports
with the database.
"""

import json
import os
import subprocess
import sys
import unittest

from tests.harness import BUILD, ROOT, Scenario
from tests.harness.ports import free_address

LANGUAGE = ""
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 800, 120
SHORT_QUEUES = {f"{stage}.{limit}": 16 for stage, limit in
                (("flow", "queue_size"), ("gate", "batch_max"), ("admit", "batch_max"), ("status", "batch_max"))}


class Smoke(Scenario):
    def test_it_creates_requests_repeats_retries_and_watches(self):
        smoke = os.path.join(ROOT, "clients", LANGUAGE, "smoke.sh")
        environment = {**os.environ, "CLIENT_BUILD_DIR": os.path.join(os.path.dirname(BUILD), "clients", LANGUAGE)}
        built = subprocess.run([smoke, "build"], env=environment, timeout=BUILD_TIMEOUT_S, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(built.returncode, 0, built.stdout)

        address = free_address()
        program = subprocess.Popen([smoke, "run", address], env=environment, text=True, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (program.poll() is None and program.kill(), program.communicate()))
        self.assertEqual(program.stdout.readline(), "calling\n")
        server = self.start(grpc=address, **{key.replace(".", "__"): value for key, value in SHORT_QUEUES.items()})
        out, _ = program.communicate(timeout=RUN_TIMEOUT_S)
        self.assertEqual(program.returncode, 0, f"{out}; couponsd's log is {server.log.name}")

        said = json.loads(out.splitlines()[-1])
        self.assertEqual((said["client"], said["ticket"]), (LANGUAGE, 1))
        self.assertEqual(sorted(said["reasons"]), ["ALREADY_REQUESTED", "SOLD_OUT"])
        self.assertGreaterEqual(said["unavailable_retries"], 1)
        self.assertGreaterEqual(said["overloaded_retries"], 1)
        coupon = int(said["coupon_id"])
        self.assertEqual(self.sql(f"select user_id, ticket from user_coupon where coupon_id = {coupon}"), [["1", "1"]])


if __name__ == "__main__":
    LANGUAGE = sys.argv.pop(1)
    unittest.main()
