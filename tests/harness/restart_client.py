# SPDX-License-Identifier: Apache-2.0
"""Runs restart_client.c, which calls couponsd again and again while couponsd is stopped and started."""

import os
import re
import subprocess
import tempfile

from tests.harness.environment import BUILD, PATIENCE
from tests.harness.scenario import CrowdScenario

CALL = re.compile(r'call (\d+) \d+ (\S+) (\d+) (\d+) (\d+) "(.*)"')


class Call:
    def __init__(self, line):
        user, self.code, self.state, ticket, sent_us, self.message = CALL.fullmatch(line).groups()
        self.user, self.ticket, self.sent_us = int(user), int(ticket), int(sent_us)

    def __repr__(self):
        return f"<user {self.user}: {self.code} {self.message!r}, ticket {self.ticket}, sent {self.sent_us}>"


class Client:
    """A process of restart_client.c, whose head documents its lines."""

    def __init__(self, *arguments):
        self.output = tempfile.NamedTemporaryFile(
            "w+", dir=os.environ.get("TEST_DIR"), prefix="restart-", suffix=".answers", delete=False)
        self.process = subprocess.Popen([f"{BUILD}/restart_client", *map(str, arguments)], stdout=self.output)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(60 * PATIENCE)
        self.output.close()
        return code

    def lines(self, *kinds):
        kinds = tuple(f"{kind} " for kind in kinds)
        with open(self.output.name) as lines:
            return [line.rstrip("\n") for line in lines if line.startswith(kinds)]


class RestartScenario(CrowdScenario):
    """A scenario whose clients keep calling while couponsd restarts."""

    def assert_nobody_lost_a_ticket(self, coupon, calls):
        """The ledger holds exactly the tickets that the clients were told of. Returns how many it holds."""
        ledger = {user: (ticket, accept_us) for user, ticket, accept_us in (map(int, row) for row in self.sql(f"""
            select user_id, ticket, (extract(epoch from accept_time) * 1000000)::bigint
            from publish_request where coupon_id = {coupon}"""))}
        told = {call.user: call.ticket for call in calls if call.code == "OK"}
        self.assertLessEqual({call.state for call in calls if call.code == "OK"}, {"1", "2"}, "accepted or issued")
        self.assertEqual({user: ticket for user, (ticket, _) in ledger.items() if user in told}, told)
        with self.subTest("the accepted try gets the answer"):
            self.assertEqual([call for call in calls if call.user in ledger and call.code != "OK"], [])
            self.assertEqual([call for call in calls
                              if call.code == "OK" and ledger[call.user][1] < call.sent_us], [])
        self.assertEqual(ledger.keys() - {call.user for call in calls}, set(), "no other user is in the ledger")
        return len(ledger)
