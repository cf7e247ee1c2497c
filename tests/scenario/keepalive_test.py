# SPDX-License-Identifier: Apache-2.0
"""couponsd drops clients that have vanished, and keeps clients that are only quiet, even if they ping."""

import contextlib
import signal
import socket
import time
import unittest

from tests.chaos.proxy import Proxy
from tests.harness import HAS_EDGE, Scenario, wait_until
from tests.hostile import h2

TIMEOUT_S = 10  # time limit for the answer to a ping: KEEPALIVE_TIMEOUT_MS in src/rpc/server.c
# How often a client may ping; without the edge, the core's own limit applies (CLIENT_PING_MIN_MS in src/rpc/server.c).
PINGS, PING_EVERY_S = (120, 0.1) if HAS_EDGE else (4, 5.1)


class Keepalive(Scenario):
    def test_vanished_clients_lose_their_places_and_quiet_ones_keep_theirs(self):
        server = self.start(grpc__keepalive_ms=1000, issue__run="false")  # no ticket is issued, so watches stay
        coupon = self.create(server, 10)
        proxy = Proxy({"grpc": (0, int(server.grpc.rsplit(":", 1)[1]))})
        self.addCleanup(proxy.stop)
        watchers = {}
        for user, name, address in ((1, "quiet", server.grpc), (2, "stopped", server.grpc),
                                    (3, "cut off", f"127.0.0.1:{proxy.port('grpc')}")):
            self.ctl(server, "request", coupon, user)
            watchers[name] = self.ctl_raw(address, "watch", coupon, user, background=True)
        wait_until(lambda: server.metric("couponsd_watched") == 3, what="three watch")
        with h2.Connection(server.grpc) as mute:  # it makes no call and answers no ping
            watchers["stopped"].send_signal(signal.SIGSTOP)
            proxy.disturb("grpc", "stall", 0)
            began = time.monotonic()
            self.assertTrue(mute.wait_for_close(began + TIMEOUT_S + 10), "it is closed")
            wait_until(lambda: server.metric("couponsd_watched") == 1, TIMEOUT_S + 10, what="one watches")
        self.assertGreater(time.monotonic() - began, TIMEOUT_S - 1)
        self.assertIsNone(watchers["quiet"].poll(), "it answers pings")
        self.assertEqual(server.metric("couponsd_rpc_in_flight"), 1)
        watchers["stopped"].send_signal(signal.SIGCONT)

    def test_a_client_without_calls_may_ping(self):
        server = self.start()
        with h2.Connection(server.grpc) as connection:
            answered = 0
            connection.send(h2.frame(h2.SETTINGS, h2.ACK))
            for _ in range(PINGS):
                connection.send(h2.frame(h2.PING, payload=bytes(8)))
                until = time.monotonic() + PING_EVERY_S
                while got := connection.frame(until):
                    self.assertNotEqual(got[0], h2.GOAWAY)
                    answered += got[0] == h2.PING and got[1] & h2.ACK
            self.assertEqual(answered, PINGS)
        self.assertEqual(server.metric("couponsd_rpc_connections_cut_total"), 0)


@unittest.skipUnless(HAS_EDGE, "the edge counts the connections of an address")
class OneAddress(Scenario):
    """Many clients behind one NAT."""

    def connected(self, server, count):
        """Connects without making calls. Returns how many of the connections the server keeps."""
        host, port = server.grpc.rsplit(":", 1)
        held, kept = [], 0
        for _ in range(count):
            with contextlib.suppress(ConnectionError):  # a quick server closes it before the client has seen it open
                held.append(socket.create_connection((host, int(port)), 5, (h2.ATTACKER, 0)))
        for one in held:
            try:
                kept += len(one.recv(1)) > 0  # the server starts with its settings
            except ConnectionError:
                pass
        for one in held:
            one.close()
        return kept

    def test_the_connections_of_an_address_that_wait_for_a_call_are_limited_as_set(self):
        self.assertEqual(self.connected(self.start(grpc__max_address_waiting=20), 50), 20)
        server = self.start(grpc__max_address_waiting=0)
        self.assertEqual(self.connected(server, 1500), 1500)
        self.assertEqual(server.metric("couponsd_rpc_connections_cut_total"), 0)


if __name__ == "__main__":
    unittest.main()
