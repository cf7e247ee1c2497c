# SPDX-License-Identifier: Apache-2.0
"""The schedule depends on the seed alone, the proxy obeys its commands, and each check finds its violation."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import unittest

from tests.chaos import checks, schedule
from tests.chaos.proxy import Proxy
from tests.harness import BUILD, ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(ROOT, "src")
POINTS = [f"step.moment_{i}" for i in range(40)]


def text_of(path):
    with open(path) as file:
        return file.read()


class TheSchedule(unittest.TestCase):
    def test_the_same_seed_gives_the_same_schedule(self):
        self.assertEqual(schedule.make(7, 3, POINTS, 4), schedule.make(7, 3, list(reversed(POINTS)), 4))

    def test_another_seed_gives_another(self):
        self.assertNotEqual(schedule.make(7, 3, POINTS, 4), schedule.make(8, 3, POINTS, 4))

    def test_the_two_couponsd_processes_reach_each_point_in_three_minutes(self):
        plan = schedule.make(7, 3, POINTS, 4)
        self.assertEqual({life.point for lives in plan.lives.values() for life in lives} - {None}, set(POINTS))

    def test_every_server_fails_and_every_connection_is_disturbed_in_each_way(self):
        plan = schedule.make(7, 10, POINTS, 4)
        for server in schedule.SERVERS:
            self.assertGreater(len(plan.outages[server]), 10)
            self.assertEqual({step.what for step in plan.disturbances[server]},
                             {"cut", "half_close_to_client", "half_close_to_server", "delay", "stall"})


class ThePoints(unittest.TestCase):
    def test_there_are_at_least_twenty_and_each_name_is_there_once(self):
        listed = subprocess.run([f"{BUILD}/couponsd_faults"], capture_output=True, text=True,
                                env={**os.environ, "COUPONSD_FAULT": "list"}, check=True).stdout.split()
        self.assertGreaterEqual(len(listed), 20)
        self.assertEqual(len(set(listed)), len(listed))

    def test_each_file_with_points_is_compiled_into_couponsd_faults(self):
        compiled = set(re.findall(r"\$\{src\}/(\S+?\.c)", text_of(os.path.join(HERE, "CMakeLists.txt"))))
        have = set()
        for folder, _, names in os.walk(SOURCES):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith(".c") and "FAULT_POINT(" in text_of(path):
                    have.add(os.path.relpath(path, SOURCES))
        self.assertEqual(have, compiled - {"main.c", "base/fault.c"})

    def test_couponsd_itself_has_none(self):
        with open(f"{BUILD}/couponsd", "rb") as file:
            self.assertNotIn(b"COUPONSD_FAULT", file.read())

    def test_a_point_that_is_not_there_is_refused(self):
        done = subprocess.run([f"{BUILD}/couponsd_faults", "--version"], capture_output=True,
                              env={**os.environ, "COUPONSD_FAULT": "admit.nowhere:1"})
        self.assertEqual(done.returncode, 2)


def told(*lines):
    return checks.Told(lines)


def line(user, ticket, sent, answered, outcome="ACCEPTED", coupon=1, request_id=None, tries=1):
    return f"{coupon} {user} {request_id or f'chaos-{user}'} {outcome} {ticket} {tries} {sent} {answered} 0"


def ledger(*rows):
    return checks.ledger_of((1, user, ticket, f"chaos-{user}") for user, ticket in rows)


class TheChecks(unittest.TestCase):
    def found(self, check, *arguments):
        return len(list(check(*arguments)))

    def test_a_repeat_that_was_told_another_ticket(self):
        self.assertEqual(told(line(5, 1, 0, 1), line(5, 1, 2, 3)).problems, [])
        self.assertEqual(len(told(line(5, 1, 0, 1), line(5, 2, 2, 3)).problems), 1)

    def test_another_request_id_is_told_the_first_ticket(self):
        other = dict(outcome="ALREADY_REQUESTED", request_id="other-5")
        self.assertEqual(told(line(5, 1, 0, 1), line(5, 1, 2, 3, **other)).problems, [])
        self.assertEqual(len(told(line(5, 1, 0, 1), line(5, 9, 2, 3, **other)).problems), 1)

    def test_an_outcome_that_nobody_should_see(self):
        self.assertEqual(len(told(line(5, 0, 0, 1, "INTERNAL")).problems), 1)
        self.assertEqual(len(told(line(5, 1, 0, 1), line(5, 0, 2, 3, "SOLD_OUT")).problems), 1)

    def test_a_promise_that_is_not_in_the_ledger_or_not_issued_or_issued_twice(self):
        kept = told(line(5, 1, 0, 1))
        for rows, holders, n in ((ledger((5, 1)), {5: [1]}, 0), (ledger((5, 2)), {5: [1]}, 1), (ledger(), {5: [1]}, 1),
                                 (ledger((5, 1)), {}, 1), (ledger((5, 1)), {5: [1, 1]}, 1)):
            self.assertEqual(self.found(checks.promises_are_kept, kept, rows, {1: holders}), n)

    def test_somebody_who_holds_what_the_ledger_does_not_say(self):
        self.assertEqual(self.found(checks.nobody_else_is_issued, ledger((5, 1)), {1: {5: [1]}}), 0)
        self.assertEqual(self.found(checks.nobody_else_is_issued, ledger((5, 1)), {1: {5: [1], 6: [2]}}), 1)
        self.assertEqual(self.found(checks.nobody_else_is_issued, ledger((5, 1), (6, 2)), {1: {5: [1]}}), 1)

    def test_somebody_who_was_refused_and_holds_one(self):
        refused = told(line(5, 0, 0, 1, "SOLD_OUT"))
        self.assertEqual(self.found(checks.refusals_hold, refused, ledger(), lambda _: False), 0)
        self.assertEqual(self.found(checks.refusals_hold, refused, ledger((5, 1)), lambda _: False), 1)

    def test_gaps_and_counters_that_are_off(self):
        for counts, n in (((2, 2, 2, 0), 0), ((1, 2, 2, 0), 1), ((2, 2, 1, 0), 1), ((2, 2, 1, 1), 1)):
            self.assertEqual(self.found(checks.tickets_have_no_gaps, ledger((5, 1), (6, 2)), {1: counts}), n)
        self.assertEqual(self.found(checks.tickets_have_no_gaps, ledger((5, 1), (6, 3)), {1: (3, 2, 2, 0)}), 1)

    def test_sold_out_before_it_was(self):
        refused = told(line(5, 0, 0, 1, "SOLD_OUT"))
        self.assertEqual(self.found(checks.sold_out_means_sold_out, refused, {1: (3, 3, 3, 0)}, {1: 3}), 0)
        self.assertEqual(self.found(checks.sold_out_means_sold_out, refused, {1: (3, 2, 2, 0)}, {1: 3}), 1)

    def test_a_ticket_below_one_that_was_answered_before_it_was_asked_for(self):
        self.assertEqual(self.found(checks.tickets_follow_the_answers, told(line(5, 1, 0, 9), line(6, 2, 1, 2))), 0)
        self.assertEqual(self.found(checks.tickets_follow_the_answers, told(line(5, 2, 0, 3), line(6, 1, 4, 5))), 1)
        three = told(line(5, 3, 0, 3), line(6, 2, 1, 9), line(7, 1, 4, 5))
        self.assertEqual(self.found(checks.tickets_follow_the_answers, three), 1)

    def test_topics_that_lack_a_ticket_or_have_one_too_early(self):
        both = ledger((5, 1), (6, 2))
        first, second = (0, 0, 1, 5, 1), (0, 1, 1, 6, 2)
        for events, n in (((first, second), 0), ((first, second, first), 0), ((first, first, second, second), 0),
                          ((first,), 1), ((second, first), 1), ((first, second, (0, 2, 1, 7, 3)), 1),
                          ((first, (1, 0, 1, 6, 2)), 1)):
            self.assertEqual(self.found(checks.topic_is_complete, "t", events, both) > 0, n > 0, events)

    def test_ranges_that_overlap(self):
        self.assertEqual(self.found(checks.ranges_do_not_overlap, [(1, 1, 4), (1, 5, 5), (2, 1, 9)]), 0)
        self.assertEqual(self.found(checks.ranges_do_not_overlap, [(1, 1, 4), (1, 4, 5)]), 1)

    def test_flags_that_are_not_true(self):
        self.assertEqual(self.found(checks.flags_are_true, {1: ("true", "2")}, {1: ("true", "2")}), 0)
        self.assertEqual(self.found(checks.flags_are_true, {1: ("true", "2")}, {1: ("false", "3")}), 1)


class TheProxy(unittest.TestCase):
    """The proxy in front of an echo server."""

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()
        self.proxy = Proxy({"echo": (0, self.listener.getsockname()[1])})
        self.addCleanup(self.listener.close)
        self.addCleanup(self.proxy.stop)

    def serve(self):
        def echo(connection):
            with connection, contextlib.suppress(ConnectionError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.proxy.port("echo")), timeout=5)
        self.addCleanup(client.close)
        client.sendall(b"hello")
        self.assertEqual(client.recv(5), b"hello")
        return client

    def test_what_is_sent_arrives_whole_in_both_directions(self):
        client, sent = self.connect(), os.urandom(5_000_000)
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = bytearray()
        while len(got) < len(sent):
            got += client.recv(65536)
        self.assertEqual(bytes(got), sent)

    def test_cut_connections_are_reset_and_new_ones_too_until_it_is_calm(self):
        client = self.connect()
        self.proxy.disturb("echo", "cut", 0)
        with self.assertRaises(ConnectionError):
            client.recv(1)
        with self.assertRaises(ConnectionError):
            with socket.create_connection(("127.0.0.1", self.proxy.port("echo")), timeout=5) as another:
                another.recv(1)
        self.proxy.calm("echo")
        self.connect()

    def test_half_closed_connections_end_for_one_side(self):
        for what in ("half_close_to_client", "half_close_to_server"):
            client = self.connect()
            self.proxy.disturb("echo", what, 0)
            self.assertEqual(client.recv(1), b"", what)

    def test_what_stands_still_goes_on_afterwards(self):
        client = self.connect()
        self.proxy.disturb("echo", "stall", 0)
        client.settimeout(0.2)
        client.sendall(b"later")
        with self.assertRaises(TimeoutError):
            client.recv(1)
        self.proxy.calm("echo")
        client.settimeout(5)
        self.assertEqual(client.recv(5), b"later")

    def test_what_is_delayed_comes_late_and_in_order(self):
        client = self.connect()
        self.proxy.disturb("echo", "delay", 0.1)
        for word in (b"one", b"two"):
            client.sendall(word)
        got = b""
        while len(got) < 6:
            got += client.recv(6)
        self.assertEqual(got, b"onetwo")


if __name__ == "__main__":
    unittest.main()
