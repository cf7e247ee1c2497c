# SPDX-License-Identifier: Apache-2.0
"""Clients with short deadlines while couponsd is slow. A gRPC client resets the stream of a call whose deadline has
passed. Attackers reset streams too, but immediately. couponsd must not mistake slow calls for an attack."""

import collections
import signal
import threading
import time
import unittest
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.proxy import Proxy
from tests.harness import Scenario
from tests.hostile import h2

PUBLISH = "/coupon.v1.CouponService/RequestPublish"
SLOW_S = 2  # couponsd is slow for this time; the requests sent meanwhile fit into HTTP/2's initial windows
STEP_S = 0.005
RATE = 1000  # calls per second


class Caller(threading.Thread):
    """Makes calls on one connection at RATE, and resets each stream whose answer does not come in time."""

    def __init__(self, address, coupon, timeout_s):
        super().__init__()
        self.address, self.coupon, self.timeout_s = address, coupon, timeout_s
        self.n_reset, self.failure, self.stopping = 0, None, False
        self.answered = threading.Event()  # the first answer comes after the exchange of settings

    def open(self, connection, user):
        body = h2.message(h2.field(1, self.coupon) + h2.field(2, user))
        stream = connection.open(PUBLISH)  # without grpc-timeout, so that the server does not end the call first
        connection.send(h2.frame(h2.DATA, h2.END_STREAM, stream, body))
        return stream

    def take_answers(self, connection, waiting):
        while got := connection.frame(time.monotonic()):
            kind, flags, stream, payload = got
            if kind == h2.SETTINGS and not flags & h2.ACK:
                connection.send(h2.frame(h2.SETTINGS, h2.ACK))
            elif kind == h2.PING and not flags & h2.ACK:
                connection.send(h2.frame(h2.PING, h2.ACK, payload=payload))
            elif kind == h2.GOAWAY:
                raise h2.Closed(f"GOAWAY {payload}")
            elif flags & h2.END_STREAM or kind == h2.RST_STREAM:
                waiting.pop(stream, None)
                self.answered.set()

    def call(self, connection):
        waiting, user = collections.OrderedDict(), 0
        next_s = time.monotonic()
        while not self.stopping:
            for _ in range(int(RATE * STEP_S)):
                user += 1
                waiting[self.open(connection, user)] = time.monotonic()
            self.take_answers(connection, waiting)
            while waiting and time.monotonic() - next(iter(waiting.values())) >= self.timeout_s:
                stream, _ = waiting.popitem(last=False)
                connection.send(h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08"))
                self.n_reset += 1
            next_s += STEP_S
            time.sleep(max(0, next_s - time.monotonic()))

    def run(self):
        try:
            with h2.Connection(self.address) as connection:
                self.call(connection)
        except Exception as error:  # the test reports it
            self.failure = error


class Deadlines(Scenario):
    def assert_spared(self, server, timeout_s, slow_down):
        """Makes calls for longer than slow_down() takes. Calls fail only by their deadlines."""
        coupon = self.create(server, 10**6)
        caller = Caller(server.grpc, coupon, timeout_s)
        caller.start()
        self.assertTrue(caller.answered.wait(30))
        slow_down()
        time.sleep(1)  # the server reads the waiting requests
        caller.stopping = True
        caller.join()
        self.assertGreater(caller.n_reset, RATE * SLOW_S / 2)
        for reason in ("resets", "useless", "offender"):
            self.assertEqual(server.metric("couponsd_rpc_connections_cut_total", reason=reason), 0, reason)
        self.assertIsNone(caller.failure)
        self.ctl(server, "get", coupon)

    def test_deadlines_that_pass_while_postgres_is_silent_cut_nobody_off(self):
        parts = urlsplit(self.postgres_url)
        proxy = Proxy({"postgres": (0, parts.port)})
        self.addCleanup(proxy.stop)
        url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port('postgres')}"))
        server = self.start(postgres__url=f"{url}&sslmode=disable", flow__patience_ms=0)

        def stall():
            proxy.disturb("postgres", "stall", 0)
            time.sleep(SLOW_S)
            proxy.calm("postgres")

        for timeout_s in (0.02, 0.08):
            with self.subTest(timeout_s=timeout_s):
                self.assert_spared(server, timeout_s, stall)

    def test_deadlines_that_pass_while_couponsd_stands_still_cut_nobody_off(self):
        server = self.start()

        def stop():
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(SLOW_S)
            server.process.send_signal(signal.SIGCONT)

        self.assert_spared(server, 0.02, stop)


if __name__ == "__main__":
    unittest.main()
