# SPDX-License-Identifier: Apache-2.0
"""couponsd processes are killed, stopped and continued, or come and go. The others keep working, and nothing breaks."""

import json
import os
import random
import signal
import time
import unittest

from tests.harness import PATIENCE, wait_until
from tests.outage.outage import FULL, LANES, RATE, STOPPED_S, STORM_S, Load, Outage, alive, assert_quiet, figure

SESSION_S = 6  # Kafka's session time-out, after which the group drops a silent member
TRIES = 200


class Owner(Outage):
    def test_killed_another_takes_its_lanes_within_five_seconds_and_issues_everything(self):
        servers = [self.start(), self.start()]
        owner, other = self.owner_and_other(servers)
        coupon = self.create(other, 10**6)
        load = Load(self, [other, owner], coupon, 4 * RATE, RATE)
        wait_until(lambda: self.accepted(coupon) > RATE, what="load")
        owner.kill()
        seconds = self.seconds_until(lambda: self.lanes(other) == LANES, 5, "the other has all lanes")
        figure("Owner of the lanes killed", "another process has all lanes after", f"{seconds:.2f} s")
        answers = load.finish()["answers"]
        self.assertEqual(set(answers) - {"ACCEPTED", "ISSUED"}, set())
        self.assert_nothing_lost(coupon)
        assert_quiet(self, [other])


class Stopped(Outage):
    """SIGSTOP leaves a process's connections open and its locks held; after SIGCONT it goes on where it stopped."""

    def backends_of(self, server):
        """Returns the local ports of the server's connections, which identify its sessions in Postgres. The server is
        stopped, so they do not change."""
        inodes = set()
        for fd in os.listdir(f"/proc/{server.process.pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{server.process.pid}/fd/{fd}"))
            except OSError:
                pass
        ports = set()
        with open("/proc/net/tcp", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in inodes:
                    ports.add(str(int(words[1].split(":")[1], 16)))
        return ports

    def stop_within_transaction(self, server):
        """Stops the server inside a transaction, so that it holds a lane's lock. Returns whether that succeeded."""
        for _ in range(TRIES):
            server.process.send_signal(signal.SIGSTOP)
            idle = {port for (port,) in self.sql("""
                select client_port from pg_stat_activity where state = 'idle in transaction'
                and application_name = 'couponsd'""")}
            if idle & self.backends_of(server):
                return True
            server.process.send_signal(signal.SIGCONT)
            time.sleep(random.random() / 50)
        server.process.send_signal(signal.SIGSTOP)
        return False

    def ask_the_other(self, other, coupon, seconds):
        """Makes one call after the other. Returns the time of the slowest call, and the time until the first ticket was
        issued."""
        began, longest, user, issued = time.monotonic(), 0, 10**6, None
        first = None
        while time.monotonic() - began < seconds or not issued:
            user += 1
            asked = time.monotonic()
            code, out, err = self.ctl_raw(other, "--timeout", 20000, "request", coupon, user)
            longest = max(longest, time.monotonic() - asked)
            answer = json.loads(out.splitlines()[-1])
            if code:
                self.assertEqual(answer["error"]["code"], "UNAVAILABLE", f"{out} {err}")
            elif first is None:
                first = user
            if first is not None and issued is None and \
                    self.ctl(other, "status", coupon, first)[0]["state"] == "ISSUED":
                issued = time.monotonic() - began
            self.assertLess(time.monotonic() - began, seconds + 60, "nothing is issued")
        return longest, issued

    def stop_and_continue(self, within_transaction, what):
        servers = [self.start(), self.start()]
        owner, other = self.owner_and_other(servers)
        coupon = self.create(other, 10**6)
        # After their deadline, clients of the stopped server retry on the other one.
        load = Load(self, servers, coupon, (STOPPED_S + 2) * RATE // 2, RATE // 2)
        wait_until(lambda: self.accepted(coupon) > RATE // 2, what="load")
        if within_transaction:
            self.assertTrue(self.stop_within_transaction(owner), "never stopped inside a transaction")
        else:
            owner.process.send_signal(signal.SIGSTOP)
        self.addCleanup(lambda: alive(owner) and owner.process.send_signal(signal.SIGCONT))
        stopped = time.monotonic()
        longest, issued = self.ask_the_other(other, coupon, STOPPED_S / 2)
        figure(what, "the other server: slowest call; first ticket issued after", f"{longest:.2f} s, {issued:.1f} s")
        self.assertLess(longest, 4 * PATIENCE, "the other server keeps accepting")
        # The sessions of the stopped server end one by one, so the lanes of the two streams move at different times.
        wait_until(lambda: self.lanes(other) == LANES, seconds=5, what="the other one relays")
        time.sleep(max(0, STOPPED_S - (time.monotonic() - stopped)))
        owner.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        answers = load.finish()["answers"]
        self.assertEqual(set(answers) - {"ACCEPTED", "ISSUED"}, set())
        count = self.assert_nothing_lost(coupon)
        figure(what, "after SIGCONT: the load has ended, and each ticket is issued once",
               f"{count}, after {time.monotonic() - began:.1f} s")
        self.ctl(owner, "request", coupon, 10**7)  # the owner serves again
        self.wait_for_issued(coupon, count + 1)
        self.assertEqual(sum(map(self.lanes, servers)), LANES, "each lane has one relay")
        self.assert_nothing_lost(coupon)
        assert_quiet(self, servers)

    @unittest.skipUnless(FULL, "the test within a transaction shows the same; ./dev outage runs both")
    def test_anywhere_for_longer_than_its_session_it_does_no_harm(self):
        self.stop_and_continue(False, "Zombie")

    def test_within_a_transaction_it_holds_nobody_up_for_long(self):
        self.stop_and_continue(True, "Zombie in a transaction")


class Storm(Outage):
    def test_servers_that_come_and_go_every_second_lose_nothing(self):
        staying, coming = self.start(), []
        coupon = self.create(staying, 10**6)
        load = Load(self, [staying], coupon, (STORM_S + SESSION_S + 2) * RATE // 2, RATE // 2)
        wait_until(lambda: self.accepted(coupon) > RATE // 2, what="load")
        began, changes = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < STORM_S + SESSION_S:
            round_began = time.monotonic()
            if len(coming) < 3 and (not coming or random.random() < 0.6):
                coming.append(self.start())
            else:
                going = coming.pop(random.randrange(len(coming)))
                if elapsed < STORM_S and random.random() < 0.5:
                    going.kill()
                else:  # the rest stop gracefully and leave the group; Kafka has dropped the killed ones by the end
                    self.assertEqual(going.stop(), 0)
            changes += 1
            time.sleep(max(0, 1 - (time.monotonic() - round_began)))
        for going in coming:
            self.assertEqual(going.stop(), 0)
        seconds = self.seconds_until(
            lambda: self.unsent() == 0 and staying.metric("couponsd_issue_lag_messages") == 0 and
            self.unissued(coupon) == 0, 5, "nothing waits")
        figure("Rebalance storm", f"{changes} servers came or went under load; after the last, the lag is zero in",
               f"{seconds:.2f} s")
        answers = load.finish()["answers"]
        self.assertEqual(set(answers) - {"ACCEPTED", "ISSUED"}, set())
        count = self.assert_nothing_lost(coupon)
        figure("Rebalance storm", "tickets issued, each once", str(count))
        assert_quiet(self, [staying])

    def unissued(self, coupon):
        return int(self.sql(f"""select accepted - issued from admission join issuance using (coupon_id)
                                where coupon_id = {coupon}""")[0][0])
