# SPDX-License-Identifier: Apache-2.0
"""Topics: one per coupon, the move between versions under load, manually added partitions, and retirement."""

import json
import re
import time
import unittest

from tests.harness import PATIENCE, CrowdScenario, Scenario, wait_until
from tests.harness.kafka import lane_of
from tests.harness.own_kafka import SplitKafka

LANES = 8
REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"


class PerCoupon(CrowdScenario):
    SETTINGS = {"kafka__topic_strategy": "per_coupon", "kafka__coupon_partitions": 8}

    def test_one_hot_coupon_over_eight_partitions_on_two_servers_with_a_kill_in_the_middle(self):
        servers = [self.start(**self.SETTINGS), self.start(**self.SETTINGS)]
        coupon = self.create(servers[0], 5000)
        bench = self.ctl_raw([server.grpc for server in servers], "bench", "--coupon", coupon, "--users", 20000,
                             "--concurrency", 200, "--rate", 4000, "--retry", "--log", self.answers, background=True)
        ledger = f"select count(*) from publish_request where coupon_id = {coupon}"
        wait_until(lambda: int(self.sql(ledger)[0][0]) >= 2000, what="2,000 accepted")
        servers[1].kill()
        servers[1] = self.start(grpc=servers[1].grpc, **self.SETTINGS)
        out, err = bench.communicate(timeout=300 * PATIENCE)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.wait_for_issued(coupon, 5000)
        self.assert_issued_exactly(coupon, 5000)
        self.assert_all_told_are_issued(coupon)
        own = self.topic(f"{REQUESTED}.{coupon}")
        messages = own.messages()
        self.assertEqual(own.partitions(), 8)
        self.assertEqual({message["ticket"] for message in messages}, set(range(1, 5001)))
        self.assertGreater(len({message["partition"] for message in messages}), 4, "spread over the partitions")
        self.assertEqual({message["key"] for message in messages}, {None})
        self.assertEqual(self.topic(REQUESTED).messages(), [], "the shared topic was not used")
        rows = self.sql(f"select count(*) from consumer_offset where topic = '{own.name}' and next_offset > 0")
        self.assertGreater(int(rows[0][0]), 4, "consumed from as many")

    def test_a_new_coupon_is_issued_within_two_seconds(self):
        server = self.start(**self.SETTINGS)
        for _ in range(3):
            coupon = self.create(server, 10)
            begun = time.monotonic()
            self.ctl(server, "request", coupon, 1)
            self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
            self.assertLess(time.monotonic() - begun, 2 * PATIENCE)

    def test_a_topic_that_somebody_deleted_is_made_again_by_the_relay(self):
        server = self.start(**self.SETTINGS)
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.ctl(server, "watch", coupon, 1)
        self.topic(f"{REQUESTED}.{coupon}").delete()
        self.topic(f"{PUBLISHED}.{coupon}").delete()
        self.ctl(server, "request", coupon, 2)
        self.wait_for_issued(coupon, 2)

    def test_a_coupon_is_retired_on_command_once_it_is_closed_and_drained(self):
        server = self.start(**self.SETTINGS)
        coupon = self.create(server, 3)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 5)
        error = self.refusal(server, "topics", "retire", coupon)
        self.assertEqual((error["reason"], "not closed" in error["message"]), ("TOPIC_IN_USE", True), error)
        self.ctl(server, "close", coupon)
        def retired():
            code, out, _ = self.ctl_raw(server, "topics", "retire", coupon)
            if code:
                self.assertIn(json.loads(out)["error"]["reason"], ("TOPIC_NOT_DRAINED", "TOPIC_IN_USE"))
            return code == 0 and [json.loads(line)["deleted"] for line in out.splitlines()]
        names = wait_until(retired, what="drained")
        own = [self.topic(f"{stream}.{coupon}") for stream in (REQUESTED, PUBLISHED)]
        self.assertEqual(names, [topic.name for topic in own])
        wait_until(lambda: [topic.partitions() for topic in own] == [0, 0], 5, what="the broker has deleted them")
        self.assertEqual(self.sql(f"select count(*) from consumer_offset where topic like '%.v1.{coupon}'"), [["0"]])
        self.assertEqual(self.refusal(server, "topics", "retire", coupon)["reason"], "TOPIC_NOT_FOUND")
        other = self.create(server, 2)  # couponsd still works
        self.ctl(server, "request", other, 1)
        self.assertEqual(self.ctl(server, "watch", other, 1)[-1]["state"], "ISSUED")

    def test_changing_the_strategy_with_coupons_in_flight_loses_nothing(self):
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 4000)
        # More users than needed, because a call during a stop may end without an answer.
        bench = self.ctl_raw([server.grpc for server in servers], "bench", "--coupon", coupon, "--users", 4400,
                             "--concurrency", 100, "--rate", 400 // PATIENCE, "--retry", "--log", self.answers, background=True)
        ledger = f"select count(*) from publish_request where coupon_id = {coupon}"
        for which, at_least, settings in ((0, 500, self.SETTINGS), (1, 1300, self.SETTINGS), (0, 2100, {}),
                                          (1, 2900, {})):
            wait_until(lambda: int(self.sql(ledger)[0][0]) >= at_least, what=f"{at_least} accepted")
            self.assertEqual(servers[which].stop(), 0)
            servers[which] = self.start(grpc=servers[which].grpc, **settings)
        out, err = bench.communicate(timeout=300 * PATIENCE)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.wait_for_issued(coupon, 4000)
        self.assert_issued_exactly(coupon, 4000)
        self.assert_all_told_are_issued(coupon)
        for name in (REQUESTED, f"{REQUESTED}.{coupon}"):
            self.assertGreater(len(self.topic(name).messages()), 0, f"{name} was used")


class Refused(Scenario):
    """Kafka does not create coupons' own topics."""

    SETTINGS = {"kafka__topic_strategy": "per_coupon", "kafka__coupon_partitions": 1}

    def create_in(self, lane, server, quantity):
        """Creates a coupon whose events go through this lane."""
        while lane_of(self.next_id + 1, LANES) != lane:
            self.next_id += 1
        return self.create(server, quantity)

    def test_a_topic_that_kafka_cannot_create_at_present_holds_up_its_lane_and_no_other(self):
        kafka = SplitKafka()
        self.addCleanup(kafka.stop)
        kafka.broker.use(self)
        server = self.start(kafka__brokers=kafka.broker.brokers, **self.SETTINGS)
        coupons = []
        for lane in range(LANES):  # one after the other: "Known limits" in docs/explanation/failures.md
            coupons.append(self.create_in(lane, server, 100))
            self.ctl(server, "request", coupons[-1], 1)
            self.wait_for_issued(coupons[-1], 1)
        held, *others = coupons
        kafka.freeze_controller()
        late = self.create_in(0, server, 1)
        self.ctl(server, "request", late, 1)
        for user in range(2, 12):
            for coupon in others:
                self.ctl(server, "request", coupon, user)
            for coupon in others:
                self.wait_for_issued(coupon, user, 10)
        wait_until(lambda: "event=relay.no_coupon_topic" in server.text(), what="the relay tells")
        self.ctl(server, "request", held, 2)
        self.assertEqual(self.sql(f"select count(*) from user_coupon where coupon_id = {late}"), [["0"]])
        kafka.thaw_controller()
        self.wait_for_issued(late, 1, 60)
        self.wait_for_issued(held, 2)

    def test_a_topic_that_kafka_refuses_is_told_seldom_and_replaced_by_the_shared_one(self):
        self.assertEqual(self.start().stop(), 0)  # makes the shared topics
        server = self.start(kafka__replication_factor=2, **self.SETTINGS)
        coupon = self.create(server, 100)
        for user in range(1, 31):
            self.ctl(server, "request", coupon, user)
            self.wait_for_issued(coupon, user)
        wait_until(lambda: len(self.topic(PUBLISHED).messages()) == 30, what="all are in the shared topic")
        told = re.findall("event=relay.no_coupon_topic stream=requested .*these coupons use the shared topic",
                          server.text())
        self.assertEqual(len(told), 1)
        self.assertEqual(server.stop(), 0)
        server = self.start(**self.SETTINGS)
        self.ctl(server, "request", coupon, 31)
        self.wait_for_issued(coupon, 31)
        self.assertEqual(len(self.topic(f"{REQUESTED}.{coupon}").messages()), 1)


class Migration(CrowdScenario):
    def topics(self, server):
        """Returns name without prefix → its line of `topics list`, and the migration."""
        *lines, migration = self.ctl(server, "topics", "list")
        return {line["topic"].removeprefix(f"{self.schema}."): line for line in lines}, migration

    def wait_for_state(self, server, name, state):
        wait_until(lambda: self.topics(server)[0][name]["state"] == state, what=f"{name} is {state}")

    def assert_order_of_tickets(self, *names):
        """Checks that through these topics, by time, the tickets of each coupon are in order, apart from repeats.
        Returns all of them."""
        seen, partitions = {}, {}
        for name in names:
            for message in self.topic(name).messages():
                seen.setdefault(message["coupon"], []).append(
                    (message["timestamp"], names.index(name), message["offset"], message["ticket"]))
                partitions.setdefault((name, message["coupon"]), set()).add(message["partition"])
        self.assertEqual({len(used) for used in partitions.values()}, {1}, "a coupon stays in one partition of a topic")
        for coupon, found in seen.items():
            order = list(dict.fromkeys(ticket for *_, ticket in sorted(found)))
            self.assertEqual(order, sorted(order), f"coupon {coupon}: tickets in order of their first appearance")
        return {(coupon, ticket) for coupon, found in seen.items() for *_, ticket in found}

    def load(self, servers, coupons, each, rate):
        return self.ctl_raw([server.grpc for server in servers], "bench", "--coupons", coupons, "--quantity", each,
                            "--users", each, "--concurrency", 100, "--rate", rate, "--retry", "--log", self.answers,
                            background=True)

    def assert_all_issued(self, count):
        wait_until(lambda: self.sql("select count(*) from user_coupon") == [[str(count)]], what=f"{count} issued")
        wrong = self.sql("""select count(*) from user_coupon u full join publish_request p using (coupon_id, ticket)
                            where u.user_id is distinct from p.user_id""")
        self.assertEqual(wrong, [["0"]])

    def test_lanes_move_under_load_with_kills_in_the_middle_and_back_again(self):
        servers = [self.start(), self.start()]
        bench = self.load(servers, 20, 900, 1000)
        accepted = "select count(*) from publish_request"
        wait_until(lambda: int(self.sql(accepted)[0][0]) >= 1000, what="1,000 accepted")
        self.ctl(servers[0], "topics", "migrate", "--to", "v2", "--partitions", 16, "--no-wait")
        wait_until(lambda: int(self.sql("select count(*) from relay_cursor where version = 2")[0][0]) >= 3,
                   every=0.01, what="three lanes moved")
        self.ctl(servers[0], "topics", "pause")
        servers[0].kill()
        _, migration = self.topics(servers[1])
        self.assertTrue(migration["paused"])
        servers[0] = self.start(grpc=servers[0].grpc)
        _, later = self.topics(servers[0])
        self.assertEqual(later["target_version"], 2)
        lines = self.ctl(servers[0], "topics", "migrate", "--to", "v2")  # continues, and shows its progress
        self.assertEqual(lines[-1]["lanes_moved"], 16, lines)
        listed, _ = self.topics(servers[0])
        self.assertEqual(listed["outside.coupon.publish.requested.v2"]["partitions"], 16)
        self.assertEqual(listed["outside.coupon.publish.requested.v2"]["lanes"], 8)
        # Move back, with another kill on the way.
        self.ctl(servers[1], "topics", "migrate", "--to", "v1", "--no-wait")
        servers[1].kill()
        servers[1] = self.start(grpc=servers[1].grpc)
        wait_until(lambda: self.topics(servers[0])[1]["lanes_moved"] == 16, what="all lanes are back at v1")
        out, err = bench.communicate(timeout=300 * PATIENCE)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.assert_all_issued(20 * 900)
        for name in (REQUESTED, PUBLISHED):
            second = name.replace(".v1", ".v2")
            self.assertEqual(len(self.assert_order_of_tickets(name, second)), 20 * 900, "each ticket is in the topics")
            self.wait_for_state(servers[0], second, "DRAINED")

    def test_the_old_version_is_reported_drained_and_deleted_only_on_command(self):
        server = self.start()
        bench = self.load([server], 5, 200, 1000)
        self.ctl(server, "topics", "migrate", "--to", "v2", "--partitions", 12)
        out, err = bench.communicate(timeout=300 * PATIENCE)
        self.assertEqual(bench.returncode, 0, f"{out} {err}")
        self.wait_for_state(server, REQUESTED, "DRAINED")
        self.wait_for_state(server, PUBLISHED, "DRAINED")
        self.assertEqual(self.refusal(server, "topics", "delete", "v2")["reason"], "TOPIC_IN_USE")
        self.assertEqual(len(self.ctl(server, "topics", "delete", "v1")), 2)
        self.assertEqual(self.refusal(server, "topics", "delete", "v1")["reason"], "TOPIC_NOT_FOUND")
        coupon = self.create(server, 5)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        self.assertEqual(server.stop(), 0)
        server = self.start()  # kafka.partitions no longer has an effect
        self.assertEqual(set(self.topics(server)[0]),
                         {"outside.coupon.publish.requested.v2", "inside.coupon.published.v2"})
        self.assert_all_issued(5 * 200 + 1)

    def test_wrong_orders_are_refused_with_what_to_do(self):
        server = self.start()
        error = self.refusal(server, "topics", "migrate", "--to", "v3")
        self.assertEqual(error["reason"], "INVALID_FIELD")
        error = self.refusal(server, "topics", "migrate", "--to", "v1", "--partitions", 5)
        self.assertEqual(error["reason"], "TOPIC_EXISTS")
        self.assertEqual(self.refusal(server, "topics", "delete", "v7")["reason"], "TOPIC_NOT_FOUND")
        self.assertEqual(self.ctl_raw(server, "topics", "migrate", "--to", "next")[0], 2)
        self.assertEqual(self.ctl_raw(server, "topics", "burn")[0], 2)


class Grown(CrowdScenario):
    def test_partitions_added_by_hand_are_told_and_nothing_is_lost(self):
        server = self.start()
        coupons = [self.create(server, 400) for _ in range(5)]
        bench = [self.ctl_raw(server, "bench", "--coupon", coupon, "--users", 400, "--rate", 200, background=True)
                 for coupon in coupons]
        wait_until(lambda: int(self.sql("select count(*) from publish_request")[0][0]) >= 300, what="300 accepted")
        self.assertEqual(server.metric("couponsd_topics_grown"), 0)
        for name in (REQUESTED, PUBLISHED):
            self.topic(name).grow(11)
        wait_until(lambda: server.metric("couponsd_topics_grown") == 2, seconds=5, what="the metric tells")
        for process in bench:
            out, err = process.communicate(timeout=300 * PATIENCE)
            self.assertEqual(process.returncode, 0, f"{out} {err}")
        for coupon in coupons:
            # Longer than reconcile.stale_ms, after which events lost on the way to a new partition are resent.
            self.wait_for_issued(coupon, 400, 60)
            self.assert_issued_exactly(coupon, 400)
        told = [line for line in server.text().splitlines() if "event=topics.grown" in line]
        self.assertEqual(len(told), 2, told)
        self.assertRegex(told[0], r"level=error .*partitions=11 created_with=8 .*couponctl topics migrate")
        # Follow the remedy that the log names.
        self.ctl(server, "topics", "migrate", "--to", "v2", "--partitions", 11)
        wait_until(lambda: self.ctl_raw(server, "topics", "delete", "v1")[0] == 0, what="v1 is drained")
        wait_until(lambda: server.metric("couponsd_topics_grown") == 0, seconds=5, what="all is well again")


class Offsets(Scenario):
    def test_what_a_killed_server_did_not_commit_to_kafka_is_committed_by_the_next_one(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 1)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        server.stop()
        topic, group = self.topic(REQUESTED), f"{self.schema}.coupon-issuer"
        topic.produce([(None, b"worked on by one that was killed between Postgres' commit and Kafka's")])
        self.sql(f"update consumer_offset set next_offset = next_offset + 1 where topic = '{topic.name}'")
        self.assertEqual(topic.lag(group), 1)
        self.start(kafka__partitions=1)
        wait_until(lambda: topic.lag(group) == 0, what="the lag is gone without another message")


if __name__ == "__main__":
    unittest.main()
