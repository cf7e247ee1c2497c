"""Stop and start at load, again and again: nobody sees anything but OK and UNAVAILABLE, and nothing is lost."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from collections import Counter

from harness import BUILD, PATIENCE, Scenario, wait_until

RESTARTS = 20
CALLS = 24  # at a time
WATCHES = 20
CALL = re.compile(r'call (\d+) (\d+) (\S+) (\d+) (\d+) (\d+) "(.*)"')
WATCH = re.compile(r'watch (\d+) (\d+) (\S+) (-?\d+) (\d+) "(.*)"')


def free_address():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"


class Client:
    """restart_client.c, which says what its lines are."""

    def __init__(self, *arguments):
        self.output = tempfile.NamedTemporaryFile(
            "w+", dir=os.environ.get("TEST_DIR"), prefix="restart-", suffix=".answers", delete=False)
        self.process = subprocess.Popen([f"{BUILD}/restart_client", *map(str, arguments)], stdout=self.output)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(60 * PATIENCE)
        self.output.close()
        return code

    def lines(self, first_word):
        with open(self.output.name) as lines:
            return [line.rstrip("\n") for line in lines if line.startswith(first_word + " ")]


class Restart(Scenario):
    # The requests of `hold` wait for as long as it takes: what reconcile would send again counts as fresh.
    WAITING = {"reconcile__stale_ms": 86400000}

    def hold(self, server):
        """A coupon with requests that are accepted, and whose events got lost: they are issued when reconcile sees."""
        coupon = self.create(server, WATCHES)
        self.sql(f"""
            update admission set accepted = {WATCHES} where coupon_id = {coupon};
            insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)
            select {coupon}, n, n, 'held-' || n, now() from generate_series(1, {WATCHES}) n""")
        return coupon

    def wait_until_under_way(self, server, client, restart):
        wait_until(lambda: server.metric("couponsd_watched") == WATCHES, what="all watch")
        wait_until(lambda: len([line for line in client.lines("health") if "health SERVING" in line]) > restart,
                   what="the health stream is open")
        wait_until(lambda: server.metric("couponsd_accepted_total") >= 500, what="500 accepted")

    def test_twenty_restarts_at_load_lose_nothing_and_show_nothing_but_ok_and_unavailable(self):
        address = free_address()
        server = self.start(grpc=address, **self.WAITING)
        coupon, held = self.create(server, 10**9), self.hold(server)
        client = Client(address, coupon, CALLS, held, WATCHES)
        self.addCleanup(client.stop)
        for restart in range(RESTARTS):
            self.wait_until_under_way(server, client, restart)
            begun = time.monotonic()
            self.assertEqual(server.stop(), 0, server.log.name)
            stopped = time.monotonic()
            server = self.start(grpc=address, **self.WAITING)
            print(f"{stopped - begun:.2f} {time.monotonic() - stopped:.2f}", flush=True)
        self.wait_until_under_way(server, client, RESTARTS)
        self.assertEqual(client.stop(), 0)
        print("\n".join(client.lines("tally") + client.lines("left")))


if __name__ == "__main__":
    unittest.main()
