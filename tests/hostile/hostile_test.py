# SPDX-License-Identifier: Apache-2.0
"""Attacks on a live server while another client, the probe, calls it and must not notice.

Prints a row for each attack: the probe's p99 before and during the attack, the server's memory before, at its peak, and
after, its CPU time, and the result of the attack.
"""

import gzip
import itertools
import json
import multiprocessing
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from tests.harness import BUILD, PATIENCE, SANITIZED, Scenario, wait_until
from tests.harness.certificates import Authority
from tests.hostile import broken, floods, h2

SEED = int(os.environ.get("HOSTILE_SEED", 20240229))
PROBE_CALLS_PER_S = 300
# The probe's p99 during an attack may be ten times its usual p99, and at least as long as the noise of a busy machine.
P99_TIMES, P99_FLOOR_US = 10, 100_000
TRIES, BAN_S = 3, 10  # BAN_S: the longest time an address is blocked
# Memory that an attack may cost. The 10,000 concurrent calls that one connection may have take about 100 MiB.
MEMORY_GROWTH_MAX_MIB = 256
# Calls that a test may make with any values, because they change only data of the test.
PATHS = ("/coupon.v1.IntegrityService/VerifyCoupon", "/coupon.v1.CouponService/RequestPublish",
         "/coupon.v1.CouponService/GetStatus", "/coupon.v1.CouponService/ListUserCoupons",
         "/coupon.v1.CouponAdminService/GetCoupon", "/coupon.v1.CouponAdminService/ListCoupons",
         "/coupon.v1.CouponAdminService/PauseCoupon", "/coupon.v1.CouponAdminService/ResumeCoupon",
         "/coupon.v1.CouponAdminService/AddQuantity", "/coupon.v1.DeadLetterAdminService/ListDeadLetters",
         "/coupon.v1.DeadLetterAdminService/GetDeadLetter", "/coupon.v1.TopicAdminService/ListTopics",
         floods.CREATE_COUPON)
FORK = multiprocessing.get_context("fork")  # attackers inherit h2.TLS
ESTABLISHED, CLOSE_WAIT = "01", "08"  # in /proc/PID/net/tcp


class Probe:
    def __init__(self, server, coupon, *ca):
        self.process = subprocess.Popen([f"{BUILD}/hostile_probe", server.grpc, str(coupon), str(PROBE_CALLS_PER_S), *ca],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line == "ready\n", line

    def told(self):
        """Returns the probe's figures since the previous request for them."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


def run(attack, arguments, pipe):
    os.nice(10)  # a real attacker has its own machine and would not take CPU time from the server
    try:
        pipe.send(attack(*arguments))
    except BaseException as error:  # the test reports it
        pipe.send(error)


class Hostile(Scenario):
    tls = []  # couponctl's options

    def proc(self, name):
        return f"/proc/{self.server.process.pid}/{name}"

    def memory_mib(self, key):
        with open(self.proc("status")) as status:
            return next(int(line.split()[1]) for line in status if line.startswith(key)) // 1024

    def cpu_s(self):
        with open(self.proc("stat")) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connections(self):
        """Counts the connections that the server has not closed, even if the client has."""
        port = int(self.server.grpc.rsplit(":", 1)[1])
        rows = []
        for table in ("net/tcp", "net/tcp6"):  # the core listens on IPv6 if the machine has it
            with open(self.proc(table)) as lines:
                rows += [line.split() for line in lines][1:]
        return sum(row[1].endswith(f":{port:04X}") and row[3] in (ESTABLISHED, CLOSE_WAIT) for row in rows)

    def cut(self, reason):
        """Counts the connections that the server cut for this reason."""
        return self.server.metric("couponsd_rpc_connections_cut_total", reason=reason)

    def begin(self, command=None, **settings):
        self.server = self.start(command=command, **settings)
        self.coupon = self.create(self.server, 1_000_000, *self.tls)
        self.probe = Probe(self.server, self.coupon, *self.tls[1:])
        self.addCleanup(self.probe.stop)

    def attack(self, attack, *arguments, seconds=30):
        """Runs attack(address, *arguments), checks what must hold, and returns the attack's result. A real slowdown
        repeats; noise does not, so only latency failures are retried."""
        if not hasattr(self, "probe"):
            self.begin()
        too_long = 0
        while True:
            before, during, told = self.attack_once(attack, arguments, seconds)
            if SANITIZED or during["p99_us"] <= max(P99_TIMES * before["p99_us"], P99_FLOOR_US):
                return told
            too_long += 1
            self.assertLess(too_long, TRIES, "the probe waited too long in every try")
            time.sleep(BAN_S)

    def attack_once(self, attack, arguments, seconds):
        self.probe.told()
        time.sleep(0.6)  # measures the usual latency
        before = self.probe.told()
        rss, cpu, start = self.memory_mib("VmRSS"), self.cpu_s(), time.monotonic()
        with open(self.proc("clear_refs"), "w") as file:
            file.write("5")  # resets VmHWM, the peak of the memory
        here, there = FORK.Pipe()
        attacker = FORK.Process(target=run, args=(attack, (self.server.grpc, *arguments), there))
        attacker.start()
        there.close()
        try:
            told = here.recv() if here.poll(seconds * PATIENCE) else AssertionError(f"more than {seconds} s")
        except EOFError:
            told = AssertionError("the attacker died")
        during = self.probe.told()
        took, cpu, peak = time.monotonic() - start, self.cpu_s() - cpu, self.memory_mib("VmHWM")
        attacker.kill()
        attacker.join()
        self.assertIsNone(self.server.process.poll(), f"the server has ended: {self.server.text()[-3000:]}")
        wait_until(lambda: self.connections() == 1, 15, what="the attacker's connections are closed")
        # The server still answers on a new connection.
        self.assertEqual(self.ctl(self.server, "get", self.coupon, *self.tls)[0]["id"], self.coupon)
        print(f"\n| {self._testMethodName[5:].replace('_', ' ')} | {before['p99_us'] / 1000:.1f} | "
              f"{during['p99_us'] / 1000:.1f} ms | {rss} | {peak} | {self.memory_mib('VmRSS')} MiB | "
              f"CPU {cpu:.1f} s of {took:.1f} | {told} |", file=sys.stderr)
        if isinstance(told, BaseException):
            raise told
        self.assertEqual((before["failed"], during["failed"]), (0, 0), during["first_failure"])
        if not SANITIZED:  # sanitizers distort memory
            self.assertLessEqual(peak - rss, MEMORY_GROWTH_MAX_MIB)
        return before, during, told


class Broken(Hostile):
    def throw(self, kind):
        self.attack(broken.throw, kind, SEED)
        for reason in ("offender", "connects"):
            self.assertEqual(self.cut(reason), 0, "the server cut a connection without reading it")
        self.assert_nobody_is_paged()

    def assert_nobody_is_paged(self):
        """The alert CouponsdInternalErrors fires on these codes."""
        for code in ("INTERNAL", "UNKNOWN", "DATA_LOSS"):
            self.assertEqual(self.server.metric("couponsd_rpc_total", code=code), 0, code)

    def test_bytes_that_are_not_http2(self):
        self.throw(broken.not_http2)

    def test_resets_that_are_too_large_of_calls_that_were_refused_early(self):
        self.begin()
        coupon = self.create(self.server, 1, *self.tls)
        users = itertools.count(1)

        def reset():
            with h2.Connection(self.server.grpc) as client:
                for _ in range(10):
                    body = h2.message(h2.field(1, coupon) + h2.field(2, next(users)))
                    client.call("/coupon.v1.CouponService/RequestPublish", body)
                client.send(h2.frame(h2.RST_STREAM, stream=client.stream, length=20_000))
                client.wait_for_close(time.monotonic() + 5)
            return self.server.metric("couponsd_refused_early_total") > 10

        wait_until(reset, 10, what="calls are refused early")
        self.assertIsNone(self.server.process.poll(), "the server has ended")

    def test_random_frames(self):
        self.throw(broken.random_frames)

    def test_frames_where_they_do_not_belong(self):
        self.throw(broken.frames_within_calls)

    def test_mutated_calls(self):
        self.throw(broken.mutated_calls)

    def test_truncated_calls(self):
        self.throw(broken.truncated_calls)

    def test_mutated_messages(self):
        self.throw(broken.mutated_messages)

    def test_message_prefixes_that_lie(self):
        self.throw(broken.message_prefixes)

    def test_broken_header_blocks_and_metadata(self):
        self.throw(broken.header_blocks)

    def answers(self, *cases):
        """Makes the calls. Each case: (path, body, headers, expected code, expected part of the status text)."""
        self.begin()
        for path, body, headers, code, part in cases:
            with self.subTest(path=path, body=body[:40], headers=headers):
                with h2.Connection(self.server.grpc) as connection:
                    told = connection.call(path, body, *headers)
                    self.assertEqual(told[0], code, told)
                    self.assertIn(part, told[1])
        self.assert_nobody_is_paged()

    def test_strings_with_nul_or_bad_utf8_are_refused_by_the_name_of_their_field(self):
        def create(name):
            return h2.message(h2.field(1, h2.field(2, name) + h2.field(3, 5)))

        def request(request_id):
            return h2.message(h2.field(1, 1) + h2.field(2, 1) + h2.field(3, request_id))

        publish = "/coupon.v1.CouponService/RequestPublish"
        self.answers(
            *((floods.CREATE_COUPON, create(name), (), 3, "coupon.name") for name in
              (b"a\0b", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82")),
            *((publish, request(request_id), (), 3, "request_id") for request_id in (b"\0", b"\x80abc")),
            (floods.CREATE_COUPON, create("ü€😀".encode()), (), 0, ""))

    def test_headers_that_made_some_versions_of_the_core_abort(self):
        """CVE-2023-1428: one of these headers, followed by more headers than the limit allows, before and after the
        client acknowledges the settings."""
        self.begin()
        small = [(f"x{number}", "abcd") for number in range(500)]  # HTTP/2 counts 32 more bytes for each
        for name, value in (("te", "x"), ("grpclb_client_stats", "x"), ("grpc-timeout", "x"), ("grpc-encoding", "x")):
            for acknowledges in (False, True):
                with self.subTest(name=name, acknowledges=acknowledges), h2.Connection(self.server.grpc) as connection:
                    if acknowledges:
                        connection.frame()
                        connection.send(h2.frame(h2.SETTINGS, h2.ACK))
                    told = connection.call(floods.GET_COUPON, h2.message(h2.field(1, 1)), (name, value), *small)
                    # Newer cores refuse the bad header itself.
                    expected = (13,) if told[1].startswith("Error parsing") else (8, 2)
                    self.assertIn(told[0], expected, told)
                    self.assertIsNone(self.server.process.poll())

    def test_messages_that_are_not_what_they_say_are_refused(self):
        gzip_encoding = (("grpc-encoding", "gzip"),)
        fine = h2.field(1, 1)
        self.answers(
            (floods.GET_COUPON, h2.message(b"\xff"), (), 3, "cannot decode"),
            (floods.GET_COUPON, h2.message(b"\x0a\x7f"), (), 3, "cannot decode"),
            (floods.GET_COUPON, h2.message(b"\x0b" * 1000), (), 3, "cannot decode"),
            (floods.GET_COUPON, h2.message(b"garbage", 1), gzip_encoding, 3, "decompress"),
            (floods.GET_COUPON, h2.message(gzip.compress(fine)[:-5], 1), gzip_encoding, 3, "decompress"),
            (floods.GET_COUPON, h2.message(gzip.compress(bytes(12_000_000)), 1), gzip_encoding, 8, "larger"),
            (floods.GET_COUPON, h2.message(bytes(10), length=100_000_000), (), 3, "no request"),
            (floods.GET_COUPON, b"", (), 3, "no request"),
            (floods.GET_COUPON, h2.message(gzip.compress(fine), 1), gzip_encoding, 5, ""))


    def test_no_value_of_any_field_is_an_internal_error(self):
        self.begin()
        extremes = (0, 1, -1, 2**31 - 1, 2**31, 2**63 - 1, -2**63, 10**9, 10**12, 10**15)
        texts = (b"", b"0", b"x" * 128, b"x" * 129, b"%s\\", "쿠폰".encode(), b"/" * 4000, b"AAAA", b"-1")
        values = [h2.field(number, value) for number in range(1, 6) for value in (*extremes, *texts)]
        times = [h2.field(1, value) + h2.field(2, nanos) for value in extremes for nanos in (0, -1, 2**31 - 1)]
        coupon = h2.field(2, b"name") + h2.field(3, 5)
        coupons = [h2.field(1, coupon + h2.field(number, time)) for number in (8, 9, 10) for time in times]
        coupons += [h2.field(1, coupon + h2.field(number, value)) for number in range(1, 12) for value in extremes]
        # NaN, infinity, and a very small number
        coupons += [h2.field(1, coupon + b"\x39" + bytes(6) + end) for end in (b"\xf8\x7f", b"\xf0\x7f", b"\x10\0")]
        more = [h2.field(1, self.coupon) + value for value in values[len(values) // 5:]]
        with h2.Connection(self.server.grpc) as connection:
            for path in PATHS:
                for value in values + (coupons if path == floods.CREATE_COUPON else more if "Verify" not in path else []):
                    told = connection.call(path, h2.message(value))
                    self.assertNotIn(told[0], (2, 13, 15, None), (path, value, told))
        self.assert_nobody_is_paged()


class Floods(Hostile):
    def test_pings(self):
        self.attack(floods.pings)

    def test_pings_whose_answers_are_not_read(self):
        self.attack(floods.pings_without_reading)

    def test_acknowledgements_of_nothing(self):
        self.attack(floods.acknowledgements)

    def test_settings(self):
        self.attack(floods.settings)

    def test_settings_whose_answers_are_not_read(self):
        self.attack(floods.settings_without_reading)

    def test_priorities_of_streams_that_never_come(self):
        self.attack(floods.priorities)

    def test_window_updates_of_zero(self):
        self.attack(floods.window_updates)

    def test_frames_of_an_unknown_type(self):
        self.attack(floods.unknown_frames)

    def test_empty_data_frames(self):
        self.attack(floods.empty_data)

    def test_rapid_reset(self):
        self.attack(floods.rapid_reset)

    def test_rapid_reset_of_whole_calls(self):
        self.attack(floods.rapid_reset_of_whole_calls)

    def test_streams_that_the_server_is_made_to_reset(self):
        self.attack(floods.made_to_reset)

    def test_calls_of_methods_that_do_not_exist(self):
        self.attack(floods.unknown_methods)

    def test_streams_before_the_settings_are_acknowledged(self):
        self.attack(floods.streams_before_settings)
        self.assertGreater(self.cut("streams"), 0)

    def test_calls_whose_message_never_comes(self):
        # When a connection breaks, the core ends its calls one by one, 75 us each, and does nothing else meanwhile.
        self.begin(grpc__max_concurrent_streams=400)
        self.attack(floods.calls_without_message)


class HeaderBlocks(Hostile):
    def test_a_header_block_that_never_ends(self):
        self.attack(floods.continuations)

    def test_a_header_block_of_small_headers_that_never_ends(self):
        self.attack(floods.continuations_of_small_headers)

    def test_a_header_block_without_content_that_never_ends(self):
        self.attack(floods.empty_continuations)

    def test_a_header_of_two_gigabytes(self):
        self.attack(floods.endless_string)

    def test_headers_that_are_a_thousand_times_larger_unpacked(self):
        self.attack(floods.indexed_bomb)


class Memory(Hostile):
    def test_a_message_of_100_mb_is_refused(self):
        self.assertIn("status 8", self.attack(floods.large_message))

    def test_ten_messages_of_100_mb_at_a_time(self):
        self.attack(floods.large_message, 10)

    def test_a_message_of_100_mb_beyond_the_window(self):
        self.attack(floods.large_message_at_once)

    def test_messages_that_never_become_complete(self):
        self.attack(floods.large_messages_on_many_streams)

    def test_watchers_that_never_read(self):
        self.attack(floods.never_reading_watchers)

    def test_questions_whose_answers_are_never_read(self):
        self.attack(floods.never_reading_reflection)


class Connections(Hostile):
    def test_ten_thousand_that_say_nothing_or_half_are_closed_within_the_handshake_time(self):
        told = self.attack(floods.half_open)
        self.assertIn(" 0 still open", told)

    def test_more_than_allowed(self):
        self.begin(grpc__max_connections=300)
        self.attack(floods.too_many)

    def test_more_than_there_are_files(self):
        self.begin(command=["prlimit", "--nofile=256:256", f"{BUILD}/couponsd"])
        self.attack(floods.too_many)

    def test_come_and_go(self):
        self.attack(floods.come_and_go)

    def test_calls_on_one_connection_after_another(self):
        """A client that makes calls may connect as often as it likes."""
        self.attack(floods.calls_one_by_one, 1500, seconds=120)
        self.assertEqual(self.cut("connects"), 0)

    def test_a_preface_that_comes_byte_by_byte_ends_with_the_handshake_time(self):
        self.assertIn(" 0 open", self.attack(floods.slow_preface))

    def test_headers_that_come_byte_by_byte(self):
        self.attack(floods.slow_headers)


class Tls(Hostile):
    """The guard detects the same attacks with TLS as without."""

    def begin(self):
        folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(shutil.rmtree, folder)
        authority = Authority(folder)
        certificate, key = authority.sign("server", "IP:127.0.0.1")
        self.tls = ["--ca", authority.certificate]
        h2.TLS = ssl.create_default_context(cafile=authority.certificate)
        h2.TLS.set_alpn_protocols(["h2"])
        self.addCleanup(setattr, h2, "TLS", None)
        super().begin(grpc__tls_certificate=certificate, grpc__tls_key=key)

    def test_pings(self):
        self.attack(floods.pings)
        self.assertGreater(self.cut("pings"), 0)

    def test_rapid_reset(self):
        self.attack(floods.rapid_reset)
        self.assertGreater(self.cut("resets"), 0)

    def test_a_header_block_that_never_ends(self):
        self.attack(floods.continuations)
        self.assertGreater(self.cut("endless_headers"), 0)

    def test_ten_messages_of_100_mb_at_a_time(self):
        self.assertIn("status 8", self.attack(floods.large_message, 10))

    def test_messages_that_never_become_complete(self):
        self.attack(floods.large_messages_on_many_streams)

    def test_ten_thousand_that_never_shake_hands(self):
        told = self.attack(floods.half_open)
        self.assertIn(" 0 still open", told)
        self.assertGreater(self.cut("connects"), 0)

    def test_calls_on_one_connection_after_another(self):
        """A client that makes calls may connect as often as it likes."""
        self.attack(floods.calls_one_by_one, 1500, seconds=120)
        self.assertEqual(self.cut("connects"), 0)


if __name__ == "__main__":
    print(f"HOSTILE_SEED={SEED}", file=sys.stderr)
    unittest.main()
