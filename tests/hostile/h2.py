# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as bytes: frames with any content, header blocks that may be broken, and a client that checks only what its
caller asks for.

It writes headers as literals without indexing and without Huffman codes. It reads headers as gRPC's core writes them:
the core Huffman-codes the values of -bin headers only, and HeaderReader returns those undecoded.
"""

import select
import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE = 4  # number of the setting
TLS = None  # an ssl.SSLContext that new connections use; None: no TLS
ATTACKER = "127.0.0.2"  # attacks come from here, so that a server that blocks by address blocks only the attacker

STATIC_NAMES = """:authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status
    :status accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow
    authorization cache-control content-disposition content-encoding content-language content-length content-location
    content-range content-type cookie date etag expect expires from host if-match if-modified-since if-none-match
    if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range
    referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary via
    www-authenticate""".split()
STATIC_VALUES = {2: b"GET", 3: b"POST", 4: b"/", 5: b"/index.html", 6: b"http", 7: b"https", 8: b"200", 9: b"204",
                 10: b"206", 11: b"304", 12: b"400", 13: b"404", 14: b"500", 16: b"gzip, deflate"}


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">BHBBI", length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def settings(**values):
    """A SETTINGS frame; keys are "s" and the number of the setting: settings(s4=65535)."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", int(key[1:]), value) for key, value in values.items()))


# --- header blocks ---

def integer(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def string(data):
    data = data.encode() if isinstance(data, str) else data
    return integer(len(data), 7) + data


def header(name, value):
    return b"\x00" + string(name) + string(value)


def request_block(path, *more):
    """`more`: (name, value) pairs."""
    usual = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
             ("content-type", "application/grpc"), ("te", "trailers"))
    return b"".join(header(name, value) for name, value in (*usual, *more))


class HeaderReader:
    """Reads the header blocks of one connection, in order, because blocks refer to earlier ones."""

    def __init__(self):
        self.table = []

    def entry(self, index):
        if index <= len(STATIC_NAMES):
            return STATIC_NAMES[index - 1].encode(), STATIC_VALUES.get(index, b"")
        return self.table[index - len(STATIC_NAMES) - 1]

    def read(self, block):
        """Returns name → value."""
        at, found = 0, {}

        def number(bits):
            nonlocal at
            most = (1 << bits) - 1
            value = block[at] & most
            at += 1
            shift = 0
            while value >= most:
                byte = block[at]
                at += 1
                value += (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            return value

        def text():
            nonlocal at
            size = number(7)
            at += size
            return block[at - size:at]

        while at < len(block):
            first = block[at]
            if first & 0x80:
                name, value = self.entry(number(7))
            elif first & 0xE0 == 0x20:
                number(5)
                continue
            else:
                index = number(6 if first & 0x40 else 4)
                name = self.entry(index)[0] if index else text()
                value = text()
                if first & 0x40:
                    self.table.insert(0, (name, value))
            found[name.decode()] = value
        return found


# --- messages ---

def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, value):
    """A field of a protobuf message. `value`: an integer or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(data, compressed=0, length=None):
    """The data with gRPC's prefix, which may lie about compression and length."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


class Closed(Exception):
    """The server has closed the connection."""


class Connection:
    def __init__(self, address, preface=PREFACE + settings(), seconds=5):
        host, port = address.rsplit(":", 1)
        self.seconds = seconds
        try:
            self.socket = socket.create_connection((host, int(port)), seconds, (ATTACKER, 0))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if TLS:
                self.socket = TLS.wrap_socket(self.socket, server_hostname=host)
        except ConnectionError as error:
            raise Closed from error
        self.headers = HeaderReader()
        self.buffer = b""
        self.stream = -1
        self.send(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed from error

    def frame(self, deadline=None):
        """Returns the next frame as (kind, flags, stream, payload), or None if none came before the deadline."""
        deadline = deadline or time.monotonic() + self.seconds
        while True:
            if len(self.buffer) >= 9:
                high, low, kind, flags, stream = struct.unpack(">BHBBI", self.buffer[:9])
                size = 9 + (high << 16 | low)
                if len(self.buffer) >= size:
                    payload, self.buffer = self.buffer[9:size], self.buffer[size:]
                    return kind, flags, stream, payload
            decrypted = TLS and self.socket.pending()
            if not decrypted and not select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            try:
                data = self.socket.recv(1 << 16)
            except OSError as error:
                raise Closed from error
            if not data:
                raise Closed
            self.buffer += data

    def wait_for_close(self, deadline):
        """Returns whether the server closed the connection before the deadline."""
        try:
            while self.frame(deadline):
                pass
        except Closed:
            return True
        return False

    def next_stream(self):
        self.stream += 2
        return self.stream

    def open(self, path, *more, flags=END_HEADERS):
        """Sends a request without its message. Returns its stream."""
        stream = self.next_stream()
        self.send(frame(HEADERS, flags, stream, request_block(path, *more)))
        return stream

    def outcome(self, stream):
        """Returns the headers and trailers of a call once it has ended; a stream that was reset has no trailers."""
        found = {}
        deadline = time.monotonic() + self.seconds
        while True:
            got = self.frame(deadline)
            if got is None:
                raise AssertionError(f"stream {stream} has not ended after {self.seconds} s")
            kind, flags, where, payload = got
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, payload=payload))
            elif kind == HEADERS:
                values = self.headers.read(payload)  # for every stream, because later blocks refer to earlier ones
                if where == stream:
                    found.update(values)
                    if flags & END_STREAM:
                        return found
            elif kind == RST_STREAM and where == stream:
                return found

    def call(self, path, body, *more):
        """Makes a call; `body` includes the message's prefix. Returns the canonical code (None: no status) and its
        text."""
        stream = self.open(path, *more)
        self.send(frame(DATA, END_STREAM, stream, body))
        found = self.outcome(stream)
        return int(found["grpc-status"]) if "grpc-status" in found else None, found.get("grpc-message", b"").decode()
