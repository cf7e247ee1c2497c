# SPDX-License-Identifier: Apache-2.0
"""Sets the clock back by an hour (libfaketime) under load: couponsd's clock, which decides nothing, and Postgres'
clock, which defines "now". The monotonic clock goes on, as on a real machine whose clock is set."""

import datetime
import glob
import os
import tempfile

from tests.harness import SANITIZED, wait_until
from tests.outage.outage import RATE, Load, Outage, assert_quiet, couponsd_with, figure, ms

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
AHEAD_S = 10


def in_seconds(seconds):
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock(Outage):
    def setUp(self):
        if not LIBRARY or SANITIZED:
            self.skipTest("needs libfaketime" if not LIBRARY else "libfaketime does not work with sanitizers")
        super().setUp()
        handle, self.offset = tempfile.mkstemp(prefix="couponsd-clock.")
        os.close(handle)
        self.addCleanup(os.unlink, self.offset)
        self.set("+0")
        self.faked = {"LD_PRELOAD": LIBRARY[0], "FAKETIME_TIMESTAMP_FILE": self.offset, "FAKETIME_NO_CACHE": "1",
                      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                      "FAKETIME_DISABLE_SHM": "1"}

    def set(self, offset):
        with open(f"{self.offset}.new", "w", encoding="ascii") as file:
            file.write(f"{offset}\n")
        os.chmod(file.name, 0o644)
        os.replace(file.name, self.offset)  # libfaketime ends a process that reads an empty file

    def go_through(self, server, what, jump):
        """Runs load while the clock jumps. Returns the coupon."""
        coupon = self.create(server, 10**6)
        load = Load(self, [server], coupon, 3 * RATE, RATE, retry=False)
        wait_until(lambda: self.accepted(coupon) > RATE, what="load")
        jump()
        result = load.finish()
        self.assertEqual(result["answers"], {"ACCEPTED": 3 * RATE}, server.text()[-3000:])
        self.wait_for_issued(coupon, 3 * RATE)
        figure(what, f"p99 of the answers during it, at {RATE} per second", ms(result["answer_us"]["p99"]))
        # Waits on the monotonic clock are not affected: flags come back, watches end, and couponsd stops in time.
        self.redis("flushall")
        seconds = self.seconds_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", 2, "the flag")
        self.ctl(server, "request", coupon, 10**6)
        self.assertEqual(self.ctl(server, "watch", coupon, 10**6)[-1]["state"], "ISSUED")
        figure(what, "a flushed flag is back after", f"{seconds:.2f} s")
        self.assert_nothing_lost(coupon)
        return coupon

    def test_of_couponsd_changes_nothing(self):
        server = self.start(command=couponsd_with(**self.faked))
        closing = self.create(server, 10, "--expire", in_seconds(AHEAD_S))
        opening = self.create(server, 10, "--open", in_seconds(AHEAD_S))
        self.assertEqual(self.ctl(server, "request", closing, 1)[0]["ticket"], 1)
        self.assertEqual(self.refusal(server, "request", opening, 1)["reason"], "NOT_OPEN")
        self.go_through(server, "couponsd's clock set back", lambda: self.set("-3600"))
        wait_until(lambda: self.ctl_raw(server, "request", opening, 1)[0] == 0, AHEAD_S, what="it opens in time")
        self.assertEqual(self.refusal(server, "request", closing, 2)["reason"], "EXPIRED")
        assert_quiet(self, [server])

    def test_of_postgres_is_what_now_means(self):
        self.restart_postgres(self.faked)
        self.addCleanup(self.restart_postgres, {})
        server = self.start(outbox__rotate_ms=500)
        open_since = self.create(server, 10, "--open", in_seconds(-1800))
        expired = self.create(server, 10, "--open", in_seconds(-3000), "--expire", in_seconds(-1800))
        self.assertEqual(self.ctl(server, "request", open_since, 1)[0]["ticket"], 1)
        self.assertEqual(self.refusal(server, "request", expired, 1)["reason"], "EXPIRED")
        self.go_through(server, "Postgres' clock set back", lambda: self.set("-3600"))
        # An hour ago neither coupon was open. Accepted users stay accepted.
        self.assertEqual(self.refusal(server, "request", open_since, 2)["reason"], "NOT_OPEN")
        self.assertEqual(self.refusal(server, "request", expired, 1)["reason"], "NOT_OPEN")
        self.assertEqual(self.ctl(server, "status", open_since, 1)[0]["ticket"], 1)
        rotations = server.metric("couponsd_outbox_rotations_total")
        coupon = self.create(server, 1000)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 1000, "--rate", 250)
        self.assertGreater(server.metric("couponsd_outbox_rotations_total"), rotations, "the outbox still rotates")
        self.assert_nothing_lost(coupon)
        assert_quiet(self, [server])

    def restart_postgres(self, environment):
        try:
            self.backends.kill("postgres")
        except AssertionError:
            pass
        self.backends.start("postgres", environment)
