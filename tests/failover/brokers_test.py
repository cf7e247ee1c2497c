# SPDX-License-Identifier: Apache-2.0
"""Three Kafka brokers with replication 3 and min.insync.replicas 2. The tests lose one or two of them under load."""

import os
import time
import unittest

from tests.failover.kafka_cluster import KafkaCluster
from tests.harness import PATIENCE, wait_until
from tests.harness.kafka import PUBLISHED, REQUESTED
from tests.outage.outage import Load, Outage, assert_quiet, figure, print_figures

RATE = 300 // PATIENCE
SECONDS = 20  # of load
STARTS = 8  # with new topics: about one of five met a broker that did not know them
DOWN_S = 5  # how long two brokers are down


class Brokers(Outage):
    @classmethod
    def setUpClass(cls):
        cls.cluster = KafkaCluster()
        cls.addClassCleanup(cls.cluster.stop)
        cls.addClassCleanup(os.environ.__setitem__, "KAFKA_BROKERS", os.environ["KAFKA_BROKERS"])
        os.environ["KAFKA_BROKERS"] = cls.cluster.brokers

    def setUp(self):
        super().setUp()
        self.cluster.repair()
        self.servers = [self.start(kafka__replication_factor=3), self.start(kafka__replication_factor=3)]
        self.coupon = self.create(self.servers[0], 10**6)
        self.wait_for_replicas(3)

    def wait_for_replicas(self, n):
        def have():
            try:
                return all(self.topic(name).in_sync_replicas() == n for name in (REQUESTED, PUBLISHED))
            except AssertionError:  # a broker that has not heard of a new topic yet
                return False

        wait_until(have, 60, 0.2, f"each partition has {n} replicas in sync")

    def issued(self):
        return int(self.sql(f"select count(*) from user_coupon where coupon_id = {self.coupon}")[0][0])

    def load(self):
        load = Load(self, self.servers, self.coupon, SECONDS * RATE, RATE, retry=False)
        wait_until(lambda: self.issued() > RATE, what="load")
        return load

    def assert_issues_again(self, since, what):
        """Waits until everything accepted so far is issued, while the server accepts more."""
        accepted = self.accepted(self.coupon)
        wait_until(lambda: self.issued() >= accepted, 60, 0.05, "everything accepted so far is issued")
        figure("Kafka, 3 brokers", f"{what}: everything accepted until then is issued after",
               f"{time.monotonic() - since:.1f} s")

    def finish(self, load):
        result = load.finish()
        self.assertEqual(result["answers"], {"ACCEPTED": SECONDS * RATE}, "Kafka's failures do not reach clients")
        self.assert_nothing_lost(self.coupon)
        assert_quiet(self, self.servers)

    def test_one_is_killed_and_nothing_waits_for_its_return(self):
        load = self.load()
        self.cluster.kill(self.cluster.all[:1])
        self.assert_issues_again(time.monotonic(), "one killed")
        self.wait_for_replicas(2)
        self.cluster.repair()
        self.wait_for_replicas(3)
        self.finish(load)

    def test_new_topics_are_read_soon_although_some_brokers_hear_of_them_late(self):
        for server in self.servers:
            server.stop()
        for number in range(STARTS):
            server = self.start(kafka__topic_prefix=f"{self.schema}.new{number}.")
            self.ctl(server, "request", self.create(server, 1), 1)
            wait_until(lambda: server.metric("couponsd_completed_total") == 1, 15, what=f"start {number} completes")
            server.stop()

    def test_a_partition_without_a_leader_holds_up_no_other(self):
        for other in self.servers:
            other.stop()
        server = self.start(kafka__topic_prefix=f"{self.schema}.alone.", kafka__replication_factor=1,
                            relay__in_flight_max=16)  # so that waiting messages fill the queue
        coupons = [self.create(server, 10**6) for _ in range(24)]
        for coupon in coupons:
            self.ctl(server, "request", coupon, 1)
            self.wait_for_issued(coupon, 1)
        self.cluster.kill(self.cluster.all[:1])
        gone = time.monotonic()
        for coupon in coupons:
            self.ctl(server, "request", coupon, 2)
        served = f"select count(*) from user_coupon where user_id = 2 and coupon_id in ({', '.join(map(str, coupons))})"
        wait_until(lambda: int(self.sql(served)[0][0]) > 0, 30, what="the other partitions make progress")
        wait_until(lambda: time.monotonic() - gone > 10, 11, what="the other partitions had 10 s")
        before = {coupon for coupon, in self.sql(served.replace("count(*)", "coupon_id"))}
        self.assertLess(len(before), len(coupons), "a partition has no leader")
        for coupon in before:
            self.ctl(server, "request", coupon, 3)
        wait_until(lambda: int(self.sql(served.replace("= 2", "= 3"))[0][0]) == len(before), 15, what="and still do")
        self.cluster.repair()
        wait_until(lambda: int(self.sql(served)[0][0]) == len(coupons), 60, what="the rest is issued")

    def test_two_are_killed_and_all_is_issued_in_order_after_their_return(self):
        load = self.load()
        self.cluster.kill(self.cluster.all[1:])
        gone, at = time.monotonic(), self.accepted(self.coupon)
        wait_until(lambda: time.monotonic() - gone > DOWN_S, DOWN_S + 1, what="they are away")
        self.assertGreater(self.accepted(self.coupon) - at, 0.8 * DOWN_S * RATE, "requests are accepted without Kafka")
        self.assertGreater(self.unsent(), 0, "requests wait in the outbox")
        self.cluster.repair()
        self.assert_issues_again(time.monotonic(), "two back")
        self.finish(load)


def tearDownModule():
    print_figures()


if __name__ == "__main__":
    unittest.main()
