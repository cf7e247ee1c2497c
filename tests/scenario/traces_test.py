# SPDX-License-Identifier: Apache-2.0
"""Traces: a request is one trace through all steps, over Kafka and crashes, and no receiver disturbs couponsd."""

import os
import random
import tempfile
import time
import unittest

from tests.harness import Scenario, wait_until
from tests.harness.environment import HAS_EDGE
from tests.harness.kafka import PUBLISHED, REQUESTED
from tests.harness.otlp import Receiver
from tests.harness.ports import free_address
from tests.hostile import h2

PUBLISH = "/coupon.v1.CouponService/RequestPublish"
STATUS = "/coupon.v1.CouponService/GetStatus"
STEPS = ["request", "gate", "admit", "relay", "issue", "relay", "complete"]
OK, INVALID_ARGUMENT, FAILED_PRECONDITION = 0, 3, 9


class TraceScenario(Scenario):
    def receiver(self, answer=200):
        """A receiver with an endpoint, and the spans that it has received."""
        receiver = Receiver(answer)
        self.addCleanup(receiver.close)
        return receiver

    def start_traced(self, receiver, **settings):
        return self.start(trace__endpoint=receiver.endpoint, **settings)

    def context(self, sampled=True):
        """A client's traceparent. Returns it with its trace id and its span id."""
        trace, span = f"{random.randrange(1, 2**128):032x}", f"{random.randrange(1, 2**64):016x}"
        return f"00-{trace}-{span}-0{int(sampled)}", trace, span

    def call(self, server, path, coupon, user, *headers):
        with h2.Connection(server.grpc, seconds=20) as connection:
            return connection.call(path, h2.message(h2.field(1, coupon) + h2.field(2, user)), *headers)

    def request(self, server, coupon, user, *headers, expect=OK):
        code, text = self.call(server, PUBLISH, coupon, user, *headers)
        self.assertEqual(code, expect, text)

    def spans(self, receiver, trace, steps):
        """Waits for these steps' spans of the trace, and returns them in the order of their starts."""
        def those():
            found = sorted(receiver.of(trace), key=lambda span: span.start)
            return found if len(found) >= len(steps) else None
        found = wait_until(those, 20, what=f"spans {steps} of {trace}; there are {receiver.of(trace)}")
        found.sort(key=lambda span: (STEPS.index(span.step), span.start))
        if steps == STEPS:  # the relay of issued coupons is behind issue
            relays = [span for span in found if span.step == "relay"]
            found = [span for span in found if span.step != "relay"]
            found.insert(3, relays[0])
            found[5:5] = relays[1:]
        self.assertEqual([span.step for span in found], steps, found)
        return found

    def assert_chain(self, spans, parent):
        """The spans of all steps are one chain behind the call, which is a child of `parent`."""
        call, gate, admit, relay, issue, relay_published, complete = spans
        parents = [(call, parent), (gate, call.id), (admit, call.id), (relay, admit.id), (issue, relay.id),
                   (relay_published, issue.id), (complete, relay_published.id)]
        for span, expected in parents:
            self.assertEqual(span.parent, expected, f"the parent of {span} in {spans}")
        self.assertEqual(len({span.id for span in spans}), len(spans))
        for span in spans:
            self.assertLessEqual(span.start, span.end, span)
            self.assertLess(abs(span.end / 1e9 - time.time()), 300, "a time since 1970")

    def headers_of(self, topic):
        """The headers of the topic's only message."""
        message, = self.topic(topic).messages()
        return message["headers"]


class OneTrace(TraceScenario):
    def test_a_request_is_one_trace_through_all_steps(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=0, kafka__partitions=1)
        coupon = self.create(server, 10)
        traceparent, trace, client = self.context()
        self.request(server, coupon, 7, ("traceparent", traceparent), ("tracestate", "vendor=some,other=thing"))
        spans = self.spans(receiver, trace, STEPS)
        self.assert_chain(spans, client)
        call, gate, admit, relay, issue, relay_published, complete = spans
        with self.subTest("names and kinds"):
            requested, published = self.topic(REQUESTED).name, self.topic(PUBLISHED).name
            self.assertEqual(
                [(span.name, span.kind) for span in spans],
                [("coupon.v1.CouponService/RequestPublish", "server"), ("gate", "internal"), ("admit", "internal"),
                 (f"{requested} publish", "producer"), (f"{requested} process", "consumer"),
                 (f"{published} publish", "producer"), (f"{published} process", "consumer")])
        with self.subTest("attributes"):
            self.assertLessEqual({"rpc.system": "grpc", "rpc.service": "coupon.v1.CouponService",
                                  "rpc.method": "RequestPublish", "rpc.grpc.status_code": 0}.items(),
                                 call.attributes.items())
            self.assertEqual([span.attributes.get("couponsd.outcome") for span in spans[1:]],
                             ["let_in", "accepted", "acknowledged", "issued", "acknowledged", "completed"])
            for span in spans[1:]:
                self.assertEqual(span.attributes["couponsd.coupon_id"], coupon)
            for span in spans[2:]:
                self.assertEqual(span.attributes["couponsd.ticket"], 1)
            for span in (admit, issue):
                self.assertEqual((span.attributes["db.system"], span.attributes["couponsd.batch_size"]),
                                 ("postgresql", 1))
            for span in (relay, issue, relay_published, complete):
                self.assertEqual(span.attributes["messaging.system"], "kafka")
            self.assertEqual((issue.attributes["messaging.kafka.destination.partition"],
                              issue.attributes["messaging.kafka.message.offset"]), (0, 0))
            self.assertEqual([span.error for span in spans], [None] * len(spans))
        with self.subTest("the process"):
            resource = call.resource
            self.assertEqual((resource["service.name"], resource["process.pid"]), ("couponsd", server.process.pid))
            self.assertRegex(resource["service.instance.id"], "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
            self.assertTrue(resource["service.version"])
        with self.subTest("the steps come one after the other"):
            for before, after in zip(spans[1:], spans[2:]):
                self.assertLessEqual(before.start, after.start, f"{before} {after}")
            self.assertTrue(call.start <= gate.start and gate.end <= admit.start and admit.end <= call.end, spans)
        with self.subTest("headers in Kafka name the span that sent the message, and pass the tracestate on"):
            for topic, span in ((REQUESTED, relay), (PUBLISHED, relay_published)):
                headers = self.headers_of(topic)
                self.assertEqual(headers["traceparent"], f"00-{trace}-{span.id}-01")
                self.assertEqual(headers["tracestate"], "vendor=some,other=thing")

    def test_a_trace_goes_on_after_a_crash_between_admit_and_relay(self):
        receiver = self.receiver()
        first = self.start_traced(receiver, trace__ratio=0, relay__run="false")
        coupon = self.create(first, 10)
        traceparent, trace, client = self.context()
        self.request(first, coupon, 7, ("traceparent", traceparent))
        self.spans(receiver, trace, STEPS[:3])
        first.kill()
        second = self.start_traced(receiver, trace__ratio=0)
        spans = self.spans(receiver, trace, STEPS)
        self.assert_chain(spans, client)
        pids = [span.resource["process.pid"] for span in spans]
        self.assertEqual(pids, [first.process.pid] * 3 + [second.process.pid] * 4)
        self.assertEqual(len({span.resource["service.instance.id"] for span in spans}), 2)

    def test_spans_of_accepted_requests_are_not_lost_with_a_stop(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=0, relay__run="false")
        coupon = self.create(server, 10)
        traceparent, trace, _ = self.context()
        self.request(server, coupon, 7, ("traceparent", traceparent))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(sorted(span.step for span in receiver.of(trace)), ["admit", "gate", "request"])

    def test_a_batch_has_a_span_for_each_request(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=1, trace__max_per_s=10000)
        coupon = self.create(server, 1000)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 200, "--concurrency", 50)
        self.wait_for_issued(coupon, 200)

        def complete():
            return [span for span in receiver.spans
                    if span.step == "complete" and span.attributes["couponsd.coupon_id"] == coupon]
        wait_until(lambda: len(complete()) == 200, 20, what="each coupon has the last span of its trace")
        traces = {span.trace for span in complete()}
        self.assertEqual(len(traces), 200)
        sizes = [span.attributes["couponsd.batch_size"] for span in receiver.spans if span.step == "issue"]
        self.assertGreater(max(sizes), 1)
        by_trace = {trace: [] for trace in traces}
        for span in receiver.spans:
            if span.trace in by_trace:
                by_trace[span.trace].append(span)
        for trace, spans in by_trace.items():
            self.assertEqual(len(spans), len(STEPS), spans)
            self.assert_chain(self.spans(receiver, trace, STEPS), None)


class Choice(TraceScenario):
    def test_an_unsampled_request_is_passed_on_as_it_is_and_has_no_span(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=1)
        coupon = self.create(server, 10)
        unsampled, trace, _ = self.context(sampled=False)
        self.request(server, coupon, 1, ("traceparent", unsampled))
        self.wait_for_issued(coupon, 1)
        wait_until(lambda: len(self.topic(PUBLISHED).messages()) == 1, what="the event is in Kafka")
        for topic in (REQUESTED, PUBLISHED):
            self.assertEqual(self.headers_of(topic)["traceparent"], unsampled)
        sampled, later, _ = self.context()
        self.request(server, coupon, 2, ("traceparent", sampled))
        self.spans(receiver, later, STEPS)
        self.assertEqual(receiver.of(trace), [])

    def test_a_traceparent_that_is_not_valid_counts_as_none(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=1)
        coupon = self.create(server, 10)
        for user, bad in enumerate(("", "nonsense", "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
                                    "ff-" + "1" * 32 + "-" + "1" * 16 + "-01", "0" * 4000), 1):
            self.request(server, coupon, user, ("traceparent", bad), ("tracestate", "a=" + "b" * 600))
        self.wait_for_issued(coupon, 5)

        def calls():
            return [span for span in receiver.spans if span.name == PUBLISH[1:]]
        wait_until(lambda: len(calls()) == 5, 20, what="all are traced by the ratio")
        self.assertEqual({span.parent for span in calls()}, {None})
        for message in self.topic(REQUESTED).messages():
            self.assertNotIn("tracestate", message["headers"], "without a traceparent it means nothing")

    def test_no_more_requests_than_max_per_s_are_traced_by_any_step(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=0, trace__max_per_s=1)
        coupon = self.create(server, 100)
        contexts = [self.context() for _ in range(40)]
        begun = time.monotonic()
        for user, (traceparent, _, _) in enumerate(contexts, 1):
            self.request(server, coupon, user, ("traceparent", traceparent))
        seconds = int(time.monotonic() - begun) + 2
        self.wait_for_issued(coupon, 40)
        limited = server.metric("couponsd_trace_limited_total")
        self.assertGreaterEqual(limited, 40 - seconds)
        wait_until(lambda: len([span for span in receiver.spans if span.step == "complete"]) == 40 - limited, 20,
                   what="those within the limit are traced to their end")
        self.assertEqual({step: len([span for span in receiver.spans if span.step == step]) for step in set(STEPS)},
                         {step: (40 - limited) * STEPS.count(step) for step in set(STEPS)})
        traces = {trace for _, trace, _ in contexts}
        self.assertEqual({message["headers"]["traceparent"][3:35] for message in self.topic(REQUESTED).messages()},
                         traces, "beyond the limit, the event still belongs to its trace")

    def test_other_calls_have_a_span_and_refusals_have_their_reason(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=0)
        coupon = self.create(server, 1)
        traceparent, trace, _ = self.context()
        self.assertEqual(self.call(server, STATUS, coupon, 7, ("traceparent", traceparent))[0], 5)
        span, = self.spans(receiver, trace, ["request"])
        self.assertEqual((span.name, span.attributes["rpc.grpc.status_code"], span.attributes["couponsd.reason"]),
                         (STATUS[1:], 5, "REQUEST_NOT_FOUND"))
        self.assertIsNone(span.error, "the caller's error is none of the server")
        traceparent, trace, _ = self.context()
        self.request(server, coupon, 0, ("traceparent", traceparent), expect=INVALID_ARGUMENT)
        span, = self.spans(receiver, trace, ["request"])
        self.assertEqual(span.attributes["couponsd.reason"], "INVALID_FIELD")

    @unittest.skipUnless(HAS_EDGE, "without the edge, no refusal is given on the doorstep")
    def test_refusals_on_the_doorstep_leave_sampled_calls_to_the_gate(self):
        receiver = self.receiver()
        server = self.start_traced(receiver, trace__ratio=0)
        coupon = self.create(server, 1)
        self.request(server, coupon, 1)
        with h2.Connection(server.grpc, seconds=20) as connection:
            def refused(user, *headers):
                body = h2.message(h2.field(1, coupon) + h2.field(2, user))
                self.assertEqual(connection.call(PUBLISH, body, *headers)[0], FAILED_PRECONDITION)

            def refuse_early():
                refused(random.randrange(10, 10**9))
                return server.metric("couponsd_refused_early_total")
            early = wait_until(refuse_early, 20, what="the coupon's refusals are given on the doorstep")
            traceparent, trace, client = self.context()
            refused(3, ("traceparent", traceparent))
            unsampled, _, _ = self.context(sampled=False)
            refused(4, ("traceparent", unsampled))
        self.assertEqual(server.metric("couponsd_refused_early_total"), early + 1, "of the two, only the unsampled one")
        call, gate = self.spans(receiver, trace, ["request", "gate"])
        self.assertEqual((call.parent, gate.parent), (client, call.id))
        self.assertEqual([span.attributes["couponsd.reason"] for span in (call, gate)], ["SOLD_OUT"] * 2)
        self.assertEqual(gate.attributes["couponsd.outcome"], "refused")


class Receivers(TraceScenario):
    def buy_all(self, server, quantity=300):
        coupon = self.create(server, quantity)
        self.ctl(server, "bench", "--coupon", coupon, "--users", quantity, "--concurrency", 50)
        self.wait_for_issued(coupon, quantity)
        self.assert_issued_exactly(coupon, quantity)

    def dropped(self, server, reason):
        return server.metric("couponsd_trace_spans_dropped_total", reason=reason)

    def test_nothing_is_sent_unless_an_endpoint_is_set(self):
        receiver = self.receiver()
        server = self.start(trace__ratio=1, kafka__partitions=1)
        coupon = self.create(server, 10)
        traceparent, _, _ = self.context()
        self.request(server, coupon, 1, ("traceparent", traceparent), ("tracestate", "a=b"))
        self.wait_for_issued(coupon, 1)
        wait_until(lambda: len(self.topic(PUBLISHED).messages()) == 1, what="the event is in Kafka")
        for topic in (REQUESTED, PUBLISHED):
            headers = self.headers_of(topic)
            self.assertEqual((headers["traceparent"], headers["tracestate"]), (traceparent, "a=b"))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(receiver.requests, [])

    def test_spans_are_posted_to_the_path_of_the_endpoint_as_protobuf(self):
        receiver = self.receiver()
        self.ctl(self.start_traced(receiver, trace__ratio=1), "list")
        path, headers = wait_until(lambda: receiver.requests, 20, what="spans are sent")[0]
        self.assertEqual((path, headers["Content-Type"]), ("/v1/traces", "application/x-protobuf"))

    def test_a_receiver_that_keeps_couponsd_waiting_disturbs_nobody_and_spans_are_dropped(self):
        receiver = self.receiver(answer=None)
        server = self.start_traced(receiver, trace__ratio=1, trace__max_per_s=10000)
        wait_until(lambda: self.ctl(server, "list") is not None and receiver.requests, 20, what="it has begun to wait")
        self.buy_all(server, 3000)
        wait_until(lambda: self.dropped(server, "full") > 0, 20, what="the queue is full")
        begun = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - begun, 10, "the stop does not wait for the receiver")
        self.assertIn("event=stop.done", server.text())

    def test_without_a_receiver_all_goes_on_and_one_line_in_the_log_says_so(self):
        server = self.start(trace__endpoint=f"http://{free_address()}/v1/traces", trace__ratio=1,
                            trace__max_per_s=10000)
        self.buy_all(server)
        wait_until(lambda: self.dropped(server, "failed") > 0, 30, what="three attempts have failed")
        self.assertEqual(server.text().count("event=trace.not_sent"), 1)
        self.assertEqual(server.metric("couponsd_trace_spans_sent_total"), 0)

    def test_spans_that_a_receiver_refuses_are_dropped_and_those_of_an_overloaded_one_are_sent_again(self):
        receiver = self.receiver(answer=400)
        server = self.start_traced(receiver, trace__ratio=0)
        coupon = self.create(server, 10)
        traceparent, refused, _ = self.context()
        self.request(server, coupon, 1, ("traceparent", traceparent))
        wait_until(lambda: self.dropped(server, "refused") >= 1, 20, what="the spans are refused")
        self.wait_for_issued(coupon, 1)
        receiver.answer = 503
        n_requests = len(receiver.requests)
        traceparent, trace, _ = self.context()
        self.request(server, coupon, 2, ("traceparent", traceparent))
        wait_until(lambda: len(receiver.requests) > n_requests, 20, what="the receiver was too busy")
        receiver.answer = 200
        self.spans(receiver, trace, STEPS)
        self.assertNotIn("request", [span.step for span in receiver.of(refused)])
        wait_until(lambda: "event=trace.sent_again" in server.text(), 20, what="the log says so")

    def test_headers_for_the_receiver_come_from_a_file(self):
        receiver = self.receiver()
        with tempfile.NamedTemporaryFile("w", dir=os.environ.get("TEST_DIR"), delete=False) as file:
            file.write("authorization=Bearer secret,x-team=coupons\n")
        self.addCleanup(os.unlink, file.name)
        server = self.start_traced(receiver, trace__ratio=1, trace__headers=f"file:{file.name}")
        self.create(server, 10)
        _, headers = wait_until(lambda: receiver.requests and receiver.requests[0], 20, what="a request")
        self.assertEqual((headers["authorization"], headers["x-team"]), ("Bearer secret", "coupons"))

    def test_settings_that_cannot_work_are_refused(self):
        for key, value, said in (("trace.endpoint", "127.0.0.1:4318", "expected a URL"),
                                 ("trace.ratio", "1.01", "expected 0 to 1"), ("trace.ratio", "-1", "expected 0 to 1"),
                                 ("trace.ratio", "nan", "expected 0 to 1"), ("trace.ratio", "0x1", "expected 0 to 1"),
                                 ("trace.ratio", "1.0.0", "expected 0 to 1"), ("trace.ratio", ".", "expected 0 to 1")):
            code, _, err = self.refused_start("--set", f"{key}={value}", "--check-config")
            self.assertNotEqual(code, 0, f"{key}={value}")
            self.assertIn(key, err)
            self.assertIn(said, err)
        code, _, err = self.refused_start("--set", "trace.endpoint=http://127.0.0.1:4318/v1/traces",
                                          "--set", "trace.headers=top-secret", "--check-config")
        self.assertNotEqual(code, 0)
        self.assertIn("trace.headers", err)
        self.assertNotIn("top-secret", err)


if __name__ == "__main__":
    unittest.main()
