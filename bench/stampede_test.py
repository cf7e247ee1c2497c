# SPDX-License-Identifier: Apache-2.0
"""bench_stampede finds wrong answers, given by servers of this test, and a small stampede on couponsd is answered
rightly."""

import base64
import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import unittest

from bench.load_test import frame
from tests.harness import BUILD, ROOT

COUPON = 7
PEOPLE = ("--people", "60", "--connect-s", "0.1", "--noon-s", "0.1", "--peak-s", "0.05")
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
END_STREAM, END_HEADERS = 1, 4


def field(number, value):
    """A field of protobuf with bytes or a number."""
    if isinstance(value, int):
        out = bytes([number << 3])
        while value >= 0x80:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])
    return bytes([number << 3 | 2, len(value)]) + value


def detail(kind, value):
    return field(3, field(1, b"type.googleapis.com/google.rpc." + kind) + field(2, value))


def literal(name, value):
    """A header without a place in the table."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def refusal(stream, code, *details):
    text = base64.b64encode(b"".join(details)).rstrip(b"=")
    assert len(text) < 127
    return frame(HEADERS, END_HEADERS | END_STREAM, stream,
                 b"\x88" + literal(b"grpc-status", b"%d" % code) + literal(b"grpc-status-details-bin", text))


def sold_out(stream):
    return refusal(stream, 9, detail(b"ErrorInfo", field(1, b"SOLD_OUT")))


def try_later(stream):
    return refusal(stream, 8, detail(b"RetryInfo", field(1, field(2, 5000000))))


def ticket(stream, request, number):
    """The request has the first three fields of the answer."""
    message = field(1, request + field(4, 1) + field(5, number))
    return (frame(HEADERS, END_HEADERS, stream, b"\x88") +
            frame(DATA, 0, stream, struct.pack(">BI", 0, len(message)) + message) +
            frame(HEADERS, END_HEADERS | END_STREAM, stream, literal(b"grpc-status", b"0")))


class Server:
    """Answers the calls of all connections, one after another: answer(n, stream, request) for the n-th."""

    def __init__(self, answer):
        self.answer, self.n, self.lock, self.known = answer, 0, threading.Lock(), {}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self.serve, args=(connection,)))
                self.threads[-1].start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            file.read(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            connection.sendall(frame(SETTINGS, 0, 0))
            while head := file.read(9):
                payload = file.read(int.from_bytes(head[:3], "big"))
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                if kind == DATA and flags & END_STREAM:
                    with self.lock:
                        request = payload[5:]
                        if request not in self.known:
                            self.n += 1
                            self.known[request] = self.n
                        answer = self.answer(self.known[request], stream, request)
                        connection.sendall(answer)


def first(n, most=10):
    """The answer of a server that gives tickets 1 to `most` to those who come first."""
    return lambda stream, request: ticket(stream, request, n) if n <= most else sold_out(stream)


class Checks(unittest.TestCase):
    def run_with(self, answer, *arguments):
        with Server(answer) as server:
            done = subprocess.run([f"{BUILD}/bench_stampede", server.address, "--coupon", str(COUPON), *PEOPLE,
                                   "--connections", "5", "--addresses", "2", "--second", "0", *arguments],
                                  capture_output=True, text=True, timeout=60)
        return done, json.loads(done.stdout.splitlines()[-1])

    def expect_fault(self, answer, text, *arguments):
        done, _ = self.run_with(answer, *arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, f"^bench_stampede: .*{text}")

    def test_right_answers_are_right(self):
        done, result = self.run_with(lambda n, stream, request: first(n)(stream, request), "--repeat", "0.5")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([result[name] for name in ("people", "winners", "max_ticket", "ok", "sold_out", "lost")],
                         [60, 10, 10, 10, 50, 0])
        self.assertGreater(result["repeats"], 0)

    def test_a_refusal_for_the_moment_is_called_again(self):
        refused, accepted = set(), []

        def answer(_, stream, request):
            if request in refused:
                accepted.append(request)
                return first(len(accepted))(stream, request)
            refused.add(request)
            return try_later(stream)

        done, result = self.run_with(answer, "--repeat", "0")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((result["winners"], result["retries"], result["calls"]), (10, 60, 120))

    def test_a_ticket_given_twice_is_found(self):
        self.expect_fault(lambda n, stream, request: first(9 if n == 10 else n)(stream, request), "given twice")

    def test_a_gap_is_found(self):
        self.expect_fault(lambda n, stream, request: first(n + (n >= 5), 11)(stream, request), "ticket 11 is beyond 10")

    def test_a_ticket_out_of_order_is_found(self):
        numbers = {1: 10, 10: 1}
        self.expect_fault(lambda n, stream, request: first(numbers.get(n, n))(stream, request),
                          "a higher one was answered before this person asked")

    def test_a_ticket_after_a_refusal_is_found(self):
        def answer(n, stream, request):
            if n == 1:
                return sold_out(stream)
            return ticket(stream, request, n - 1) if n < 12 else sold_out(stream)

        self.expect_fault(answer, "asked after somebody was told SOLD_OUT")

    def test_another_ticket_for_a_repeat_is_found(self):
        told = set()

        def answer(n, stream, request):
            is_repeat, number = request in told, n
            told.add(request)
            return ticket(stream, request, number % 10 + 1 if is_repeat else n) if n <= 10 else sold_out(stream)

        self.expect_fault(answer, "although the answer was ticket", "--repeat", "1")

    def test_a_second_ticket_for_a_person_is_found(self):
        self.expect_fault(lambda n, stream, request: ticket(stream, request, n), "has two tickets", "--second", "1")

    def test_an_answer_for_somebody_else_is_found(self):
        kept = []

        def answer(n, stream, request):
            kept.append(request)
            return ticket(stream, kept[0], n)

        self.expect_fault(answer, "the answer is for another request")

    def test_a_connection_that_the_server_ends_is_found(self):
        ended = []

        def answer(n, stream, request):
            if n == 20 and not ended:
                ended.append(n)
                return frame(GOAWAY, 0, 0, bytes(8))
            return first(n)(stream, request)

        self.expect_fault(answer, "1 connections were lost; the first: GOAWAY")


class Small(unittest.TestCase):
    def test_a_small_stampede_is_answered_rightly(self):
        done = subprocess.run([sys.executable, "-m", "bench.stampede", "--people", "3000", "--coupons", "100",
                               "--connections", "300", "--addresses", "8", "--connect-s", "1", "--noon-s", "0.8",
                               "--peak-s", "0.2", "--every", "0.25", "--json", "-"],
                              capture_output=True, text=True, cwd=ROOT, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = json.loads(done.stdout)
        rounds, load = whole["rounds"], whole["rounds"]["load"]
        self.assertEqual((rounds["checked"], load["winners"], load["lost"], load["ready"]), (3000, 100, 0, 300))
        self.assertEqual(sum(one["yes"] for one in rounds["samples"]), 100)
        self.assertEqual(load["yes_us"]["n"] + load["no_us"]["n"] + load["repeats"], load["ended"])


if __name__ == "__main__":
    unittest.main()
