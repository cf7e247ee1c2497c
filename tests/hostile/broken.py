# SPDX-License-Identifier: Apache-2.0
"""Input that violates the protocols. Each kind is a function that makes the bytes of one connection from a seeded
generator; throw() sends many of them.
"""

import random
import socket
import time

from tests.hostile import floods, h2
from tests.hostile.h2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame

COUNT = 400
SECONDS_MAX = 6
PATIENCE_S = 0.005  # wait for an answer: long enough for the server to start on the input
PATHS = [floods.GET_COUPON, floods.CREATE_COUPON, floods.REFLECTION, "/coupon.v1.CouponService/GetStatus",
         "/coupon.v1.CouponService/RequestPublish", "/coupon.v1.CouponAdminService/ListCoupons",
         "/grpc.health.v1.Health/Check"]


def throw(address, make, seed):
    """Sends make(generator) on each of COUNT connections and cuts half of them off immediately. Each connection comes
    from its own address, so that the guard blocks none of them."""
    generator = random.Random(f"{seed} {make.__name__}")
    deadline = time.monotonic() + SECONDS_MAX
    host, port = address.rsplit(":", 1)
    closed = count = 0
    while count < COUNT and time.monotonic() < deadline:
        own_address = f"127.{generator.randrange(1, 255)}.{generator.randrange(256)}.{generator.randrange(1, 255)}"
        with socket.create_connection((host, int(port)), 5, (own_address, 0)) as connection:
            try:
                connection.sendall(make(generator))
                if generator.randrange(2):
                    connection.shutdown(socket.SHUT_WR)
                connection.settimeout(PATIENCE_S)
                while connection.recv(1 << 16):
                    pass
                closed += 1
            except TimeoutError:
                pass
            except OSError:
                closed += 1
        count += 1
    return f"{count} connections, {closed} closed by the server immediately"


def mutate(generator, data):
    """Changes, drops, doubles or moves a few bytes."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        if not data:
            break
        at = generator.randrange(len(data))
        size = generator.randint(1, 16)
        match generator.randrange(5):
            case 0:
                data[at] ^= 1 << generator.randrange(8)
            case 1:
                data[at] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at:at + size]
            case 3:
                data[at:at] = data[at:at + size]
            case 4:
                data[at:at] = generator.randbytes(size)
    return bytes(data)


def a_message(generator):
    """Protobuf that several of the messages could decode."""
    def number():
        return generator.choice((0, 1, -1, 7, 1 << 31, (1 << 63) - 1, -(1 << 63)))

    def value(depth):
        match generator.randrange(3 if depth else 2):
            case 0:
                return number()
            case 1:
                return generator.choice((b"", b"abc", b"a\0b", b"\xff\xfe", "ü€".encode(), b"x" * 300))
            case 2:
                return fields(depth - 1)

    def fields(depth):
        return b"".join(h2.field(generator.randint(1, 11), value(depth)) for _ in range(generator.randint(0, 5)))

    return fields(2)


def a_call(generator, stream=1):
    body = h2.message(a_message(generator))
    return (frame(HEADERS, END_HEADERS, stream, h2.request_block(generator.choice(PATHS))) +
            frame(DATA, END_STREAM, stream, body))


# --- kinds ---

def not_http2(generator):
    return generator.choice((
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
        bytes.fromhex("16030100a5010000a10303") + generator.randbytes(generator.randrange(200)),
        PREFACE[:generator.randrange(len(PREFACE))] + generator.randbytes(50),
        mutate(generator, PREFACE) + h2.settings(),
        PREFACE + a_call(generator),  # no SETTINGS
        generator.randbytes(generator.randrange(2000)),
        bytes(generator.randrange(100_000))))


def random_frames(generator):
    out = [PREFACE + h2.settings()]
    for _ in range(generator.randint(1, 20)):
        payload = generator.randbytes(generator.choice((0, 1, 4, 5, 6, 8, 9, 100)))
        lie = generator.choice((None, None, None, 0, len(payload) + 1, 16385, (1 << 24) - 1))
        stream = generator.choice((0, 1, 2, 3, 5, 0x7FFFFFFF, 0xFFFFFFFF))
        out.append(frame(generator.choice((*range(10), 0x42, 255)), generator.randrange(256), stream, payload, lie))
    return b"".join(out)


def frames_within_calls(generator):
    """Puts random frames between the frames of a call."""
    call = frame(HEADERS, END_HEADERS, 1, h2.request_block(floods.CREATE_COUPON))
    body = h2.message(a_message(generator))
    parts = [call] + [frame(DATA, 0, 1, body[at:at + 3]) for at in range(0, len(body), 3)]
    for _ in range(generator.randint(1, 5)):
        size = generator.choice((0, 4, 8))
        odd = frame(generator.randrange(11), generator.choice((0, 1, 4, 5, 8, 32)), generator.choice((0, 1, 1, 3)),
                    generator.randbytes(size))
        parts.insert(generator.randint(1, len(parts)), odd)
    return PREFACE + h2.settings() + b"".join(parts)


def mutated_calls(generator):
    calls = b"".join(a_call(generator, stream) for stream in (1, 3, 5))
    return PREFACE + h2.settings() + mutate(generator, calls)


def truncated_calls(generator):
    whole = PREFACE + h2.settings() + a_call(generator)
    return whole[:generator.randrange(len(whole))]


def mutated_messages(generator):
    """Broken messages in valid frames."""
    body = mutate(generator, a_message(generator))
    return (PREFACE + h2.settings() + frame(HEADERS, END_HEADERS, 1, h2.request_block(generator.choice(PATHS))) +
            frame(DATA, END_STREAM, 1, h2.message(body)))


def message_prefixes(generator):
    """Prefixes with a wrong compression flag and a wrong length."""
    body = h2.message(a_message(generator), generator.choice((0, 1, 1, 2, 255)),
                      generator.choice((None, 0, 1, 5, 65536, 0x7FFFFFFF, 0xFFFFFFFF)))
    encoding = generator.choice(((), ((("grpc-encoding"), "gzip"),), (("grpc-encoding", "deflate"),),
                                 (("grpc-encoding", "snappy"),), (("grpc-encoding", "identity"),)))
    return (PREFACE + h2.settings() + frame(HEADERS, END_HEADERS, 1, h2.request_block(floods.CREATE_COUPON, *encoding)) +
            frame(DATA, END_STREAM, 1, body + generator.choice((b"", b"\0", body))))


BAD_HEADER_PARTS = [
    b"\xff\xff\xff\xff\x7f",  # an index beyond all tables
    b"\x80",  # index 0
    b"\xbe",  # the first entry of the dynamic table, which is empty
    b"\xff" + b"\x80" * 100,  # an integer without end
    b"\x7f" + b"\xff" * 9 + b"\x01",  # an integer that overflows
    b"\x3f\xe1\xff\xff\xff\x0f",  # a table size that is too large
    b"\x20" * 10,  # ten changes of the table size
    b"\x00\x01a\x85" + b"\xff" * 5,  # Huffman: nothing but padding
    b"\x00\x01a\x84" + b"\xfe\xdc\xba\x98",
    b"\x00\x7f\xff\xff\xff\xff\x0f",  # a name longer than the frame
    b"\x00\x00\x01a",  # no name
    h2.header("Upper", "case"), h2.header("a b", "c"), h2.header("a\0b", "c"), h2.header("a", "\0"),
    h2.header("a", "\r\nb: c"), h2.header("a", b"\xff\xfe"), h2.header("x-bin", "!!not base64!!"),
    h2.header("x-bin", "A"), h2.header("x-bin", "===="), h2.header("grpc-timeout", "soon"),
    h2.header("grpc-timeout", "99999999999H"), h2.header("grpc-timeout", "-1S"), h2.header("te", "gzip"),
    h2.header("content-length", "-1"), h2.header(":path", "/twice"), h2.header(":unknown", "x"),
    h2.header(":status", "200"), h2.header("connection", "close"), h2.header("traceparent", "00-" + "z" * 52),
    h2.header("authorization", "Bearer " + "a" * 9000), h2.header("x", "a" * 20000), h2.header("x" * 20000, "a"),
]


def header_blocks(generator):
    """Headers with bad values, and headers with bad encoding."""
    block = h2.request_block(generator.choice((*PATHS, "", "/", "//", "no slash", "/a/b/c", "/" + "x" * 5000)))
    if generator.randrange(4) == 0:
        block = mutate(generator, block)
    for _ in range(generator.randint(1, 3)):
        part = generator.choice((*BAD_HEADER_PARTS, generator.randbytes(20)))
        block = generator.choice((block + part, part + block))
    cuts = sorted(generator.randrange(len(block)) for _ in range(generator.randrange(3)))
    pieces = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)])]
    pieces = [piece[at:at + 16384] for piece in pieces for at in range(0, max(1, len(piece)), 16384)]
    out = []
    for number, piece in enumerate(pieces):
        flags = END_HEADERS if number == len(pieces) - 1 else 0
        out.append(frame(CONTINUATION if number else HEADERS, flags, 1, piece))
    return (PREFACE + h2.settings() + b"".join(out) + frame(DATA, END_STREAM, 1, h2.message(b"")) +
            a_call(generator, 3))
