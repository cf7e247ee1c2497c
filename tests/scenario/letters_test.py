# SPDX-License-Identifier: Apache-2.0
"""Dead letters: couponsd stores bad messages, reports them, and can replay and drop them. They block nothing."""

import os
import random
import unittest

from tests.harness import PATIENCE, SANITIZED, CrowdScenario, Scenario, wait_until

REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"
EVENTS = 10_000 if SANITIZED else 100_000
PUBLISHED_EVENTS = EVENTS // 20
RSS_MAX_MIB = 600


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def requested(coupon, user, ticket, request_id=b"r", accept_s=1_700_000_000):
    """A coupon.v1.PublishRequested, encoded here independently of couponsd."""
    return (b"\x08" + varint(coupon) + b"\x10" + varint(user) + b"\x1a" + varint(len(request_id)) + request_id +
            b"\x20" + varint(ticket) + b"\x2a" + varint(len(b"\x08" + varint(accept_s))) + b"\x08" + varint(accept_s))


def key_of(coupon):
    return str(coupon).encode()


class Letters(Scenario):
    def letters(self, server, *arguments):
        return self.ctl(server, "dead-letters", "list", *arguments)

    def wait_for_letters(self, server, count):
        return wait_until(lambda: len(found := self.letters(server)) >= count and found, what=f"{count} dead letters")

    def add_to_ledger(self, coupon, user, ticket):
        """Adds a request whose event never reached Kafka."""
        self.sql(f"""
            update admission set accepted = greatest(accepted, {ticket}) where coupon_id = {coupon};
            insert into publish_request values ({coupon}, {user}, {ticket}, 'r', now())""")

    def test_each_kind_is_put_aside_with_place_and_reason_and_those_behind_are_issued(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        kinds = [
            (key_of(coupon), b"\xff\xff\xff", "can't be decoded", coupon),
            (key_of(coupon), requested(coupon, 7, 7), "the ledger has no such ticket", coupon),
            (key_of(coupon), requested(coupon, 7, 1), "the ledger has another user", coupon),
            (b"other", requested(coupon + 1, 7, 1), "there is no such coupon", coupon + 1),
            (None, None, "there is no such coupon", 0),
        ]
        self.topic(REQUESTED).produce([kind[:2] for kind in kinds])
        self.topic(PUBLISHED).produce([(b"x", b"\x08"), (None, requested(coupon + 1, 7, 1))])
        self.ctl(server, "request", coupon, 2)
        self.wait_for_issued(coupon, 2)
        letters = self.wait_for_letters(server, len(kinds) + 2)
        of_requested = [letter for letter in letters if letter["topic"].endswith(REQUESTED)]
        for offset, (letter, (key, value, reason, letter_coupon)) in enumerate(zip(of_requested, kinds), 1):
            self.assertIn(reason, letter["reason"])
            self.assertEqual((letter["partition"], letter["offset"], letter["coupon_id"], letter["value_size"]),
                             (0, offset, letter_coupon, len(value or b"")))
            whole = self.ctl(server, "dead-letters", "show", letter["id"])[0]
            self.assertEqual((whole["key"], whole["value"]), ((key or b"").hex(), (value or b"").hex()))
        self.assertEqual([letter["reason"][:20] for letter in letters if letter["topic"].endswith(PUBLISHED)],
                         ["the value can't be d", "there is no such cou"])
        self.assertEqual([letter["id"] for letter in self.letters(server, "--coupon", coupon)],
                         [letter["id"] for letter in of_requested[:3]])
        self.assertEqual(self.letters(server, "--page-size", 2), letters)
        self.assertEqual(server.metric("couponsd_dead_letters_total"), len(kinds) + 2)

    def test_replaying_issues_what_the_ledger_has_by_now_once_however_often(self):
        server = self.start(kafka__partitions=1, reconcile__stale_ms=86400000)
        coupon = self.create(server, 10)
        self.topic(REQUESTED).produce([(key_of(coupon), requested(coupon, 7, 1)), (key_of(coupon), b"garbage"),
                                       (key_of(coupon), requested(coupon, 8, 2))])
        early, garbage, other = [letter["id"] for letter in self.wait_for_letters(server, 3)]
        code, out, _ = self.ctl_raw(server, "dead-letters", "replay", early)
        self.assertEqual((code, "KEPT" in out, "the ledger has no such ticket" in out), (1, True, True), out)
        self.add_to_ledger(coupon, 7, 1)
        sent = self.ctl(server, "dead-letters", "replay", early)[0]
        self.assertEqual((sent["outcome"], sent["detail"]), ("SENT", f"ticket 1 of coupon {coupon} for user 7"))
        self.wait_for_issued(coupon, 1)
        for _ in range(3):
            self.assertEqual(self.ctl(server, "dead-letters", "replay", early)[0]["outcome"], "REPLAYED")
        self.assertIn("replay_time", self.ctl(server, "dead-letters", "show", early)[0])
        self.add_to_ledger(coupon, 8, 2)
        code, out, _ = self.ctl_raw(server, "dead-letters", "replay", f"{early}-{other}")
        self.assertEqual(code, 1, "one of them stays")
        self.assertRegex(out, r'"REPLAYED"[^}]*}\n.*"KEPT"[^}]*can\'t be decoded.*}\n.*"SENT"')
        self.wait_for_issued(coupon, 2)
        # Reset by SQL, the letter is replayed again. Its ticket is issued, so the replay has nothing to do.
        self.sql("update dead_letter set replay_time = null")
        self.assertEqual([self.ctl_raw(server, "dead-letters", "replay", letter)[1].split('"')[5]
                          for letter in (early, garbage, other)], ["DECIDED", "KEPT", "DECIDED"])
        self.assert_issued_exactly(coupon, 2)
        self.assertEqual(len(self.topic(REQUESTED).produce([]) or self.letters(server)), 3)
        self.assertEqual(self.ctl(server, "dead-letters", "drop", garbage), [{"dropped": 1}])
        self.assertEqual(self.ctl(server, "dead-letters", "drop", f"{early}-{other}"), [{"dropped": 2}])
        self.assertEqual(self.ctl(server, "dead-letters", "drop", f"{early}-{other}"), [{"dropped": 0}])
        self.assertEqual(self.letters(server), [])

    def test_wrong_orders_are_refused_with_what_is_wrong(self):
        server = self.start()
        for action in ("show", "replay"):
            error = self.refusal(server, "dead-letters", action, 77)
            self.assertEqual((error["reason"], error["code"]), ("DEAD_LETTER_NOT_FOUND", "NOT_FOUND"))
        self.assertEqual(self.refusal(server, "dead-letters", "show", 0)["reason"], "INVALID_FIELD")
        for arguments in (["burn"], ["replay"], ["replay", "x"], ["drop", "7-"], ["drop", "9-7"], ["show"]):
            self.assertEqual(self.ctl_raw(server, "dead-letters", *arguments)[0], 2, arguments)

    def test_no_more_are_kept_than_is_set_and_of_long_values_the_beginning(self):
        server = self.start(kafka__partitions=1, issue__dead_letters_max=100, reconcile__interval_ms=100)
        coupon = self.create(server, 1)
        self.topic(REQUESTED).produce([(b"k" * 1000, b"\xff" * 100_000)] * 5)
        letter = self.wait_for_letters(server, 5)[0]
        self.assertEqual(letter["value_size"], 100_000)
        whole = self.ctl(server, "dead-letters", "show", letter["id"])[0]
        self.assertEqual((len(whole["key"]), len(whole["value"])), (2 * 256, 2 * 4096))
        code, out, _ = self.ctl_raw(server, "dead-letters", "replay", letter["id"])
        self.assertEqual((code, "only its beginning was kept" in out), (1, True), out)
        self.topic(REQUESTED).produce([(key_of(coupon), b"\xff")] * 1000)
        wait_until(lambda: server.metric("couponsd_dead_letters_total") == 1005, what="all are dead letters")
        wait_until(lambda: self.sql("select count(*) <= 100, max(message_offset) from dead_letter") == [["t", "1004"]],
                   what="couponsd keeps the newest hundred")


class Fuzz(CrowdScenario):
    def setUp(self):
        super().setUp()
        seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
        print(f"FUZZ_SEED={seed}", flush=True)
        self.random = random.Random(seed)

    def bytes(self, size):
        return self.random.randbytes(size)

    def fuzzed(self, coupons, users):
        """Makes a key and a value whose only allowed effect is a dead letter or a duplicate."""
        pick = self.random
        coupon, user, ticket = pick.choice(coupons), pick.randrange(1, users + 1), pick.randrange(1, users + 1)
        odd = pick.choice((0, -1, 1, 2**31, -2**31, 2**63 - 1, -2**63, pick.getrandbits(64) - 2**63))
        key, value = key_of(coupon), requested(coupon, user, ticket, b"forged")
        kind = pick.randrange(12)
        if kind == 0:
            value = self.bytes(pick.randrange(200))
        elif kind == 1:
            value = value[:pick.randrange(len(value))]
        elif kind == 2:
            changed = bytearray(value)
            for _ in range(pick.randrange(1, 4)):
                changed[pick.randrange(len(changed))] = pick.randrange(256)
            value = bytes(changed)
        elif kind == 3:
            value = requested(odd, user, ticket)
        elif kind == 4:
            value = requested(coupon, odd, ticket)
        elif kind == 5:
            value = requested(coupon, user, odd)
        elif kind == 6:
            value = requested(coupon, user, ticket, self.bytes(pick.randrange(300)))
        elif kind == 7:
            key = pick.choice((None, b"", self.bytes(30), b"-1", b"9" * 40))
        elif kind == 8:
            value = pick.choice((b"", None))
        elif kind == 9 and pick.randrange(200) == 0:
            value = pick.choice((self.bytes(100_000), requested(coupon, user, ticket, b"x" * 100_000)))
        elif kind == 10:
            value = value + self.bytes(pick.randrange(1, 20))
        return key, value

    def rss_mib(self, server):
        with open(f"/proc/{server.process.pid}/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def test_a_hundred_thousand_fuzzed_events_in_a_live_topic_harm_nothing(self):
        server = self.start(reconcile__interval_ms=1000)
        coupons, users = [self.create(server, 2000) for _ in range(3)], 3000
        garbage = [self.fuzzed(coupons, users) for _ in range(EVENTS)]
        published = [self.fuzzed(coupons, users) for _ in range(PUBLISHED_EVENTS)]
        load = [self.ctl_raw(server, "bench", "--coupon", coupon, "--users", users, "--concurrency", 16, "--rate", 400,
                             "--retry", "--log", f"{self.answers}.{coupon}", background=True) for coupon in coupons]
        wait_until(lambda: int(self.sql("select count(*) from publish_request")[0][0]) >= 300, what="it is under way")
        for at in range(0, EVENTS, EVENTS // 10):  # between the crowd's events, not all before or after them
            self.topic(REQUESTED).produce(garbage[at:at + EVENTS // 10])
            self.topic(PUBLISHED).produce(published[at // 20:(at + EVENTS // 10) // 20])
        for process in load:
            out, err = process.communicate(timeout=300 * PATIENCE)
            self.assertEqual(process.returncode, 0, f"{out} {err}")
        for coupon in coupons:
            self.wait_for_issued(coupon, 2000, 60)
            self.assert_issued_exactly(coupon, 2000)
            self.answers, answers = f"{self.answers}.{coupon}", self.answers
            self.assert_all_told_are_issued(coupon)
            self.assertEqual(len(self.told(coupon)), 2000)
            self.answers = answers
        self.assert_all_was_taken(server, EVENTS, coupons)
        self.assertEqual(self.sql("select count(*) from publish_request"), [["6000"]], "no forgery is in the ledger")
        print(f"most memory: {self.rss_mib(server):.0f} MiB", flush=True)
        self.assertLess(self.rss_mib(server), RSS_MAX_MIB * (4 if SANITIZED else 1))
        lines = [line for line in server.text().splitlines() if "dead_letters" in line or "undecodable" in line]
        self.assertLess(len(lines), 1000, "the log is not flooded")
        for coupon in coupons:
            for check in self.ctl(server, "verify", coupon, "--topics-timeout", 60000 * PATIENCE):
                self.assertEqual(check["result"], "OK", check)

    def assert_all_was_taken(self, server, events, coupons):
        """Checks that each event was issued, was a duplicate, or is a dead letter, and that the topics are drained."""
        def lag():
            return sum(topic["lag"] for topic in self.ctl(server, "topics") if "topic" in topic)
        wait_until(lambda: lag() == 0, 60, every=0.5, what="all is read")
        letters = int(self.sql(f"select count(*) from dead_letter where topic like '%{REQUESTED}'")[0][0])
        duplicates = server.metric("couponsd_issue_duplicates_total")
        self.assertEqual(letters + duplicates, events, f"{letters} dead letters, {duplicates} duplicates")
        self.assertGreater(letters, events // 2)
        self.assertEqual(self.sql("select count(*) from rejection"), [["0"]])
        self.assertEqual(self.sql("select count(*) from dead_letter where reason = '' or topic = ''"), [["0"]])
        self.assertEqual(server.metric("couponsd_reconcile_violations_total"), 0)


if __name__ == "__main__":
    unittest.main()
