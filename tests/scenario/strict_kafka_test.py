# SPDX-License-Identifier: Apache-2.0
"""Kafka as a strict platform team runs it: minimal rights, small messages, and brokers that check timestamps."""

import time
import unittest

from tests.harness import Scenario, wait_until
from tests.harness.kafka import Topic, lane_of
from tests.harness.own_kafka import OwnKafka

REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"
LANES = 8
SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "auto.create.topics.enable": "true",
    "num.partitions": 3,
    "message.max.bytes": 20000,
    "log.message.timestamp.after.max.ms": 60000,
    "log.message.timestamp.before.max.ms": 20000,
}


class Strict(Scenario):
    @classmethod
    def setUpClass(cls):
        cls.kafka = OwnKafka(SETTINGS)
        cls.addClassCleanup(cls.kafka.stop)

    def setUp(self):
        super().setUp()
        self.kafka.use(self)
        self.settings["kafka.brokers"] = self.kafka.brokers

    def make_topics(self, *operations):
        for name in (REQUESTED, PUBLISHED):
            self.topic(name).make(1)
            self.topic(name).allow("topic", "describe", *operations)

    def allow_groups(self):
        for name in ("coupon-issuer", "coupon-completer"):
            Topic(f"{self.schema}.{name}").allow("group", "read", "describe")

    def start_limited(self, **settings):
        return self.start(kafka__partitions=1, **self.kafka.secure_settings(), **settings)

    def test_topics_that_others_have_made_need_no_right_to_create(self):
        self.make_topics("read", "write")
        self.allow_groups()
        server = self.start_limited()
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        self.assertEqual(server.metric("couponsd_kafka_errors_total"), 0, server.text())

    def test_missing_rights_are_told_with_the_topic_and_counted_and_once_given_all_is_well(self):
        self.make_topics()
        self.topic(PUBLISHED).allow("topic", "write")  # without it, an idempotent producer gets no id
        self.allow_groups()
        server = self.start_limited()
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        requested = self.topic(REQUESTED)
        wait_until(lambda: "event=relay.rewound" in server.text(), what="the relay tells")
        self.assertRegex(server.text(), rf"event=relay\.rewound .*kind=TOPIC_AUTHORIZATION_FAILED "
                                        rf"error=\"{requested.name}: Broker: Topic authorization failed")
        rewinds = server.metric("couponsd_relay_rewinds_total")
        try:
            wait_until(lambda: server.metric("couponsd_relay_rewinds_total") > rewinds + 8, 8, what="a tight loop")
        except AssertionError:
            pass
        else:
            self.fail("couponsd makes new producers in a tight loop")
        requested.allow("topic", "write")
        wait_until(lambda: requested.lag("nobody") == 1, 30, what="the message is in Kafka")
        wait_until(lambda: server.metric("couponsd_kafka_errors_total", stage="issue") > 0, what="issue is told")
        self.assertRegex(server.text(), rf"event=kafka\.error stage=issue kind=TOPIC_AUTHORIZATION_FAILED "
                                        rf"error=.*{requested.name}")
        for name in (REQUESTED, PUBLISHED):
            self.topic(name).allow("topic", "read", "write")
        self.wait_for_issued(coupon, 1, 60)

    def test_a_topic_that_may_not_be_written_holds_up_its_lane_and_no_other(self):
        self.make_topics("read", "write")
        self.allow_groups()
        server = self.start_limited(kafka__topic_strategy="per_coupon")
        coupons = {}  # one for each lane; without the right to create topics, they use the shared one
        while len(coupons) < LANES:
            coupon = self.create(server, 100)
            coupons.setdefault(lane_of(coupon, LANES), coupon)
        denied = coupons.pop(0)
        own = self.topic(f"{REQUESTED}.{denied}")
        own.make(1)
        own.allow("topic", "describe", "read")
        self.ctl(server, "request", denied, 1)
        wait_until(lambda: "event=relay.rewound" in server.text(), what="the relay tells")
        rewinds, began = server.metric("couponsd_relay_rewinds_total"), time.monotonic()
        for user in range(1, 11):
            for coupon in coupons.values():
                self.ctl(server, "request", coupon, user)
            for coupon in coupons.values():
                self.wait_for_issued(coupon, user, 5)
        self.assertEqual(self.sql(f"select count(*) from user_coupon where coupon_id = {denied}"), [["0"]])
        # The pauses grow to 10 s.
        self.assertLess(server.metric("couponsd_relay_rewinds_total") - rewinds, 9 + (time.monotonic() - began) / 8)
        own.allow("topic", "write")
        self.wait_for_issued(denied, 1, 30)

    def test_topics_that_are_missing_without_the_right_to_create_are_told_and_requests_are_accepted(self):
        self.allow_groups()
        server = self.start_limited()
        self.assertRegex(server.text(), rf"event=start\.without backend=kafka .*{REQUESTED}.*Authorization failed")
        coupon = self.create(server, 10)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["state"], "ACCEPTED")
        wait_until(lambda: "authorization failed" in server.get("/readyz")[1], what="/readyz tells")
        self.assertEqual(server.get("/readyz")[0], 200)
        self.make_topics("read", "write")
        self.wait_for_issued(coupon, 1, 60)

    def test_a_broker_that_takes_only_small_requests_gets_smaller_ones(self):
        server = self.start(kafka__partitions=1, relay__run="false")
        coupon = self.create(server, 3000)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 3000, "--concurrency", 500, "--retry", "--no-wait")
        self.assertEqual(server.stop(), 0)
        server = self.start(kafka__partitions=1)
        self.wait_for_issued(coupon, 3000, 60)
        self.assert_issued_exactly(coupon, 3000)
        self.assertRegex(server.text(), r"event=relay\.smaller_requests .*bytes=")

    def test_messages_carry_the_time_of_postgres_and_not_of_a_host_whose_clock_may_be_ahead(self):
        server = self.start(kafka__partitions=1)
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        accepted = self.sql("select floor(extract(epoch from accept_time) * 1000)::bigint from publish_request")
        self.assertEqual([[str(message["timestamp"])] for message in self.topic(REQUESTED).messages()], accepted)

    def test_a_broker_that_refuses_the_time_of_postgres_gets_the_time_of_the_host(self):
        server = self.start(kafka__partitions=1, relay__run="false")
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(server.stop(), 0)
        wait_until(lambda: self.sql("select accept_time < now() - interval '20 s' from publish_request") == [["t"]], 60,
                   what="the event is too old for the broker")
        server = self.start(kafka__partitions=1)
        self.wait_for_issued(coupon, 1)
        self.assertIn("kind=INVALID_TIMESTAMP", server.text())

    def test_topics_that_are_deleted_while_nothing_happens_are_made_again_as_couponsd_wants_them(self):
        server = self.start(kafka__partitions=2)
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_issued(coupon, 1)
        for name in (REQUESTED, PUBLISHED):
            self.topic(name).delete()
        wait_until(lambda: [self.topic(name).partitions() for name in (REQUESTED, PUBLISHED)] == [2, 2], 20,
                   what="couponsd, not the broker, has recreated them")
        self.ctl(server, "request", coupon, 2)
        self.wait_for_issued(coupon, 2)
        self.assertEqual(server.metric("couponsd_topics_grown"), 0)


if __name__ == "__main__":
    unittest.main()
