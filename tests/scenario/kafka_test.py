# SPDX-License-Identifier: Apache-2.0
"""Trouble in Kafka: foreign transactions in couponsd's topics, lost messages, settings that cannot work."""

import ctypes
import re
import signal
import unittest

from tests.harness import CrowdScenario, Scenario, wait_until
from tests.harness.own_kafka import OwnKafka

LIBRDKAFKA = ctypes.CDLL("librdkafka.so.1").rd_kafka_version()
# "Known limits" in docs/explanation/failures.md.
needs_sound_cache = unittest.skipIf(0x02040000 <= LIBRDKAFKA < 0x020A0000,
                                    "librdkafka 2.4 to 2.8 may crash if a topic is made again at once")
REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"


class Holes(Scenario):
    """Offsets without a message: a transaction's marker takes an offset, and compaction removes messages."""

    def buy(self, server, coupon, users):
        for user in users:
            self.ctl(server, "request", coupon, user)

    def foreign(self, end):
        for name in (REQUESTED, PUBLISHED):
            self.topic(name).produce([(None, f"a foreign program's, {end}".encode())], transaction=end)

    def assert_calm(self, server):
        self.assertEqual(server.metric("couponsd_issue_gaps_total"), 0)
        self.assertNotRegex(server.text(), r"event=issue\.(gap|messages_lost)")

    def test_the_markers_of_foreign_transactions_are_no_loss(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 100)
        self.buy(server, coupon, [1])
        for n, end in enumerate(("commit", "abort", "commit")):
            self.foreign(end)
            self.buy(server, coupon, [2 + 2 * n, 3 + 2 * n])
            self.wait_for_issued(coupon, 3 + 2 * n, 5)
        self.assert_calm(server)
        self.assert_issued_exactly(coupon, 7)

    def test_a_marker_at_the_start_of_an_assignment_is_looked_at_twice_and_then_passed(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 100)
        self.buy(server, coupon, [1])
        self.wait_for_issued(coupon, 1)
        topic = self.topic(REQUESTED)
        topic.produce([(None, b"theirs")], transaction="commit")
        wait_until(lambda: self.sql("select count(*) from dead_letter where topic like '%requested%'") == [["1"]], 10,
                   what="their message becomes a dead letter")
        self.assertEqual(server.stop(), 0)
        # The stored offset of an older version: exactly before the marker.
        before_it = f"update consumer_offset set next_offset = 2 where topic = '{topic.name}'"
        stored = f"select next_offset from consumer_offset where topic = '{topic.name}'"
        self.sql(before_it)
        server = self.start(kafka__partitions=1, issue__run="true")
        wait_until(lambda: self.sql(stored) == [["3"]], 20, what="couponsd passes the marker at the end of the topic")
        self.assertEqual(server.stop(), 0)
        server = self.start(kafka__partitions=1, issue__run="false")
        self.buy(server, coupon, [2])
        wait_until(lambda: topic.lag("nobody") >= 4, what="the event is in Kafka")
        self.assertEqual(server.stop(), 0)
        self.sql(before_it)
        server = self.start(kafka__partitions=1)
        self.wait_for_issued(coupon, 2, 20)
        self.assertLessEqual(server.metric("couponsd_issue_gaps_total"), 1)
        self.assertNotIn("event=issue.messages_lost", server.text())

    def test_a_transaction_that_is_left_open_holds_up_nobody_and_its_end_is_no_loss(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 100)
        self.foreign("leave")
        self.buy(server, coupon, [1])
        self.wait_for_issued(coupon, 1, 5)
        topic = self.topic(REQUESTED)
        stored = f"select next_offset from consumer_offset where topic = '{topic.name}'"
        self.assertEqual(self.sql(stored), [["2"]], "their message and ours")
        wait_until(lambda: self.sql(stored) == [["3"]], 40, what="the broker has aborted the transaction")
        self.buy(server, coupon, [2])
        self.wait_for_issued(coupon, 2, 5)
        self.assert_calm(server)

    def test_a_migration_away_from_topics_that_end_in_a_marker_comes_to_its_end(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 100)
        self.buy(server, coupon, [1])
        self.wait_for_issued(coupon, 1)
        self.foreign("commit")
        wait_until(lambda: server.metric("couponsd_issue_lag_messages") == 0, 10, what="no lag is left")
        self.ctl(server, "topics", "migrate", "--to", "v2", "--partitions", 2, "--no-wait")
        wait_until(lambda: self.sql("select count(*) from relay_cursor where version = 2") == [["16"]], 60,
                   what="all lanes of both streams are at v2")
        self.buy(server, coupon, [2])
        self.wait_for_issued(coupon, 2, 10)
        wait_until(lambda: self.ctl_raw(server, "topics", "delete", "v1")[0] == 0, 20, what="v1 is drained")
        self.assert_calm(server)

    def test_verify_reads_a_topic_that_ends_in_a_marker_to_its_end(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 3)
        self.buy(server, coupon, [1, 2, 3])
        self.wait_for_issued(coupon, 3)
        self.foreign("abort")
        code, out, err = self.ctl_raw(server, "verify", coupon)
        self.assertEqual(code, 0, f"{out} {err}")
        self.assertNotIn("not read to", out)

    def test_compaction_leaves_holes_that_are_no_loss(self):
        topic = self.topic(REQUESTED)
        topic.make(1, cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.001, min_compaction_lag_ms=0)
        relay = self.start(kafka__partitions=1, issue__run="false", reconcile__stale_ms=86400000)
        first, second = self.create(relay, 100), self.create(relay, 100)
        # In the closed segments, compaction keeps only the last message of each key, that is, of each coupon.
        users = iter(range(1, 100))

        def holes():
            self.buy(relay, first, [next(users)])  # closes the segment before it
            offsets = [message["offset"] for message in topic.messages()]
            return offsets and offsets[-1] + 1 > len(offsets) > 1
        for user in range(1, 4):
            self.buy(relay, second, [user])
        wait_until(holes, 60, what="the topic is compacted")
        count = next(users) - 1
        self.assertEqual(relay.stop(), 0)
        server = self.start(kafka__partitions=1, reconcile__stale_ms=1000, reconcile__interval_ms=100)
        # couponsd resends the tickets whose events are gone.
        self.wait_for_issued(first, count)
        self.wait_for_issued(second, 3)
        self.assertNotIn("event=issue.messages_lost", server.text())
        self.assert_issued_exactly(first, count)
        self.assert_issued_exactly(second, 3)

    def test_messages_that_the_broker_has_deleted_are_told_as_lost_and_sent_again(self):
        relay = self.start(kafka__partitions=1, issue__run="false", reconcile__stale_ms=86400000)
        coupon = self.create(relay, 100)
        self.buy(relay, coupon, range(1, 7))
        topic = self.topic(REQUESTED)
        wait_until(lambda: topic.lag("nobody") == 6, what="all are in Kafka")
        self.assertEqual(relay.stop(), 0)
        self.sql(f"insert into consumer_offset values ('{topic.name}', 0, 1)")
        topic.cut(4)
        server = self.start(kafka__partitions=1, reconcile__stale_ms=1000, reconcile__interval_ms=100)
        self.wait_for_issued(coupon, 6, 30)
        self.assert_issued_exactly(coupon, 6)
        self.assertRegex(server.text(), r"level=error event=issue\.messages_lost .*expected_offset=1 found_offset=4")

    @needs_sound_cache
    def test_a_topic_that_somebody_makes_again_behind_couponsd_s_back_is_read_from_its_beginning(self):
        server = self.start(kafka__partitions=1, reconcile__stale_ms=86400000)
        coupon = self.create(server, 1000)
        self.buy(server, coupon, range(1, 51))
        self.wait_for_issued(coupon, 50)
        server.process.send_signal(signal.SIGSTOP)
        topic = self.topic(REQUESTED)
        topic.delete()
        topic.make(1)
        server.process.send_signal(signal.SIGCONT)
        self.buy(server, coupon, range(51, 56))
        self.wait_for_issued(coupon, 55, 60)
        self.assert_issued_exactly(coupon, 55)
        self.assertIn("event=issue.topic_recreated", server.text())

    @needs_sound_cache
    def test_complete_commits_the_lower_offset_after_the_log_of_published_events_has_gone_back(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 1000)
        topic, group = self.topic(PUBLISHED), f"{self.schema}.coupon-completer"
        self.buy(server, coupon, range(1, 21))
        self.wait_for_issued(coupon, 20)
        wait_until(lambda: topic.lag("nobody") == 20 and topic.lag(group) == 0, what="all are committed")
        server.process.send_signal(signal.SIGSTOP)
        topic.delete()
        topic.make(1)
        server.process.send_signal(signal.SIGCONT)
        self.buy(server, coupon, range(21, 26))
        wait_until(lambda: topic.lag("nobody") >= 5, what="later events are there")
        wait_until(lambda: topic.lag(group) == 0, 20, what="they are committed")


class Settings(Scenario):
    def test_properties_that_cannot_work_are_refused_by_check_config_and_by_the_start_with_the_reason(self):
        for setting, why in (
            ("kafka.max.in.flight=100", "`max.in.flight` must be set <= 5 when `enable.idempotence` is true"),
            ("kafka.delivery.report.only.error=true", "acknowledgements"),
            ("kafka.group.instance.id=me", "throw each other out"),
            ("kafka.session.timeout.ms=301000", "max.poll.interval.ms"),
            ("kafka.queuing.strategy=lifo", "order"),
            ("kafka.sasl.mechanisms=OAUTHBEARER", "kafka.sasl.oauthbearer.method = oidc"),
            ("kafka.statistics.interval.ms=1000", "a queue that nobody reads"),
            ("kafka.isolation.level=read_committed", "an open transaction of another program"),
        ):
            for arguments in (["--check-config"], []):
                with self.subTest(setting, arguments=arguments):
                    code, out, err = self.refused_start(*self.set_arguments(), "--set", setting, *arguments)
                    self.assertEqual((code, out), (2, ""), err)
                    self.assertIn(why, err)

    def test_check_config_connects_to_nobody_and_takes_what_works(self):
        code, out, err = self.refused_start("--check-config", "--set", "kafka.brokers=10.255.255.1:1", "--set",
                                            "kafka.linger.ms=7", "--set", "kafka.max.in.flight=3")
        self.assertEqual((code, out, err), (0, "settings are fine\n", ""))


class Start(Scenario):
    def test_topics_with_more_replicas_than_brokers_are_told_and_requests_are_accepted(self):
        """A restart while a broker is down."""
        server = self.start(kafka__replication_factor=2)
        reason = "larger than available brokers|[Rr]eplication factor"
        self.assertRegex(server.text(), f"event=start\\.without backend=kafka .*({reason})")
        coupon = self.create(server, 1)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["state"], "ACCEPTED")
        wait_until(lambda: re.search("^ready; .* kafka: there is no topic .*", server.get("/readyz")[1]),
                   what="/readyz tells")
        self.assertEqual(server.get("/readyz")[0], 200)
        wait_until(lambda: re.search(f"event=stage.interrupted stage=relay_requested .*({reason})", server.text()),
                   what="the relay tells")
        self.assertEqual(server.stop(), 0)
        lines = re.findall("event=stage.interrupted stage=relay_requested", server.text())
        self.assertLess(len(lines), 4)
        server = self.start()
        self.wait_for_issued(coupon, 1)
        wait_until(lambda: "kafka" not in server.get("/readyz")[1], what="/readyz tells nothing more")


class Lag(Scenario):
    def test_the_age_of_the_oldest_event_is_by_the_clock_of_postgres_alone(self):
        kafka = OwnKafka({})
        self.addCleanup(kafka.stop)
        self.sql("create function clock_timestamp() returns timestamptz language sql volatile as "
                 "$$ select pg_catalog.clock_timestamp() - interval '1 hour' $$")
        self.settings.update({"postgres.url": f"{self.postgres_url},pg_catalog", "kafka.brokers": kafka.brokers})
        server = self.start()
        coupon = self.create(server, 2)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        kafka.stop()
        self.ctl(server, "request", coupon, 2)
        lag = wait_until(lambda: server.metric("couponsd_relay_lag_seconds", stream="requested"), what="a lag")
        self.assertLess(lag, 60)


class Lost(CrowdScenario):
    """couponsd resends tickets whose events were lost after the relay, no matter how busy it is."""

    def lose_all(self, count, coupon):
        """Accepts requests of `count` users whose events never reach Kafka, although the outbox says they did."""
        server = self.start(relay__run="false", issue__run="false", kafka__partitions=1,
                            reconcile__stale_ms=86400000)
        coupon = coupon or self.create(server, 10 * count)
        self.ctl(server, "bench", "--coupon", coupon, "--users", count, "--concurrency", 400, "--no-wait")
        self.assertEqual(server.stop(), 0)
        self.sql("""update relay_cursor c set last_id = h.last_id from outbox_head h
                    where h.stream = c.stream and h.lane = c.lane and h.stream = 0""")
        return coupon

    def test_they_are_sent_again_while_others_buy_the_same_coupon_and_others(self):
        coupon = self.lose_all(30, None)
        server = self.start(kafka__partitions=1, reconcile__stale_ms=2000, reconcile__interval_ms=100)
        other = self.create(server, 100000)
        benches = [self.ctl_raw(server, "bench", "--coupon", one, "--users", 3000, "--first-user", 1000, "--rate", 100,
                                background=True) for one in (coupon, other)]
        lost = f"select count(*) from user_coupon where coupon_id = {coupon} and ticket <= 30"
        wait_until(lambda: self.sql(lost) == [["30"]], 20, what="the lost tickets are issued")
        self.assertEqual([bench.poll() for bench in benches], [None, None], "the load is still running")
        self.assertRegex(server.text(), r"level=error event=reconcile\.unissued .*tickets=30 first_ticket=1 resent=30")
        for bench in benches:
            bench.terminate()
            bench.wait()

    def test_a_large_loss_does_not_take_a_stale_ms_for_each_thousand(self):
        coupon = self.lose_all(20000, None)
        server = self.start(kafka__partitions=1, reconcile__stale_ms=10000, reconcile__interval_ms=100)
        self.wait_for_issued(coupon, 20000, 60)  # resending 1,000 per stale_ms would take 200 s
        self.assert_issued_exactly(coupon, 20000)
        self.assertLess(server.metric("couponsd_reconcile_resent_total"), 60000)

    def test_what_waits_for_kafka_is_told_and_not_sent_twice(self):
        server = self.start(kafka__brokers="127.0.0.1:1", reconcile__stale_ms=1000, reconcile__interval_ms=100)
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        wait_until(lambda: server.metric("couponsd_reconcile_stale_tickets_total") >= 2, what="two rounds have told")
        self.assertEqual(server.metric("couponsd_reconcile_resent_total"), 0)
        self.assertRegex(server.text(), r"event=reconcile\.unissued .*resent=0 then=\"the others wait until Kafka")
        self.assertEqual(self.sql("select sum(last_id) from outbox_head where stream = 0"), [["1"]])


if __name__ == "__main__":
    unittest.main()
