# SPDX-License-Identifier: Apache-2.0
"""make_released.py: regenerates released.sql for a release, on the servers that POSTGRES_URL, REDIS_URL and
KAFKA_BROKERS name. released.sql is the database of couponsd (of BUILD_DIR) in the middle of its work;
migration_test.py describes its content."""

import os
import subprocess
import sys
import unittest

from tests.harness import Scenario

HERE = os.path.dirname(os.path.abspath(__file__))

SCHEMA = "released"


class Make(Scenario):
    def make(self):
        settings = {"postgres__url": self.postgres_url.replace(self.schema, SCHEMA), "kafka__topic_prefix": "fixture-"}
        self.sql(f"create schema {SCHEMA}", schema="public")
        self.schema = SCHEMA
        server = self.start(**settings)
        for coupon, quantity, users in ((1, 400, 200), (2, 50, 60)):
            self.ctl(server, "create", "--id", coupon, "--quantity", quantity)
            self.ctl(server, "bench", "--coupon", coupon, "--users", users, "--rate", 200, "--run", "fixture")
        self.assertEqual(server.stop(), 0)
        server = self.start(**settings, kafka__brokers="127.0.0.1:1", kafka__topic_strategy="key")
        self.ctl(server, "bench", "--coupon", 1, "--users", 100, "--first-user", 1001, "--rate", 200, "--run",
                 "fixture", "--no-wait")
        self.assertEqual(server.stop(), 0)
        dump = subprocess.run(["pg_dump", os.environ["POSTGRES_URL"], "--schema", SCHEMA, "--no-owner", "--no-acl"],
                              capture_output=True, text=True, check=True).stdout
        comments = ("--", "\\restrict", "\\unrestrict")  # only newer versions of psql know the last two
        lines = [line for line in dump.splitlines() if line and not line.startswith(comments)]
        with open(f"{HERE}/released.sql", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        with open(f"{HERE}/released", "w", encoding="ascii") as file:
            file.write(self.sql("""select lpad(version::text, 4, '0') || '_' || name from schema_migration
                                   order by version desc limit 1""")[0][0] + "\n")
        self.sql(f"drop schema {SCHEMA} cascade", schema="public")


if __name__ == "__main__":
    suite = unittest.TestSuite([Make("make")])
    sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())
