# SPDX-License-Identifier: Apache-2.0
"""Kafka: couponsd's topics, and reading, writing and changing a topic."""

import json
import struct
import subprocess

from tests.harness.environment import BUILD, server

REQUESTED, PUBLISHED = "outside.coupon.publish.requested.v1", "inside.coupon.published.v1"


def varints(data):
    """The integer fields of a protobuf message: number → value. Other fields are skipped."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            fields[tag >> 3] = varint()
        elif tag & 7 == 2:
            size = varint()
            at += size
        else:
            raise AssertionError(f"wire type {tag & 7} in {data.hex()}")
    return fields


def murmur2(data):
    """The hash of a key by which Kafka's clients choose the partition."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    for at in range(0, len(data) - len(data) % 4, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    rest = data[len(data) - len(data) % 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def lane_of(coupon, lanes):
    return (murmur2(str(coupon).encode()) & 0x7FFFFFFF) % lanes


class Topic:
    """A topic in Kafka. kafka_tool reads it, without any code of couponsd."""

    def __init__(self, name):
        self.name = name

    def run(self, command, *arguments):
        done = subprocess.run([f"{BUILD}/kafka_tool", server("KAFKA_BROKERS"), command, self.name,
                               *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def partitions(self):
        return int(self.run("partitions"))

    def in_sync_replicas(self):
        """The number of in-sync replicas of the partition that has the fewest."""
        return int(self.run("insync"))

    def messages(self):
        """All messages: partition, offset, timestamp, key, headers, and the coupon and ticket of the event."""
        messages = [json.loads(line) for line in self.run("dump").splitlines()]
        for message in messages:
            fields = varints(bytes.fromhex(message["value"]))
            message["coupon"], message["ticket"] = fields.get(1), fields.get(4)
        return messages

    def lag(self, group):
        return int(self.run("lag", group))

    def produce(self, messages, transaction=None):
        """messages: pairs of key and value, each bytes or None. transaction: how the transaction ends (commit, abort,
        leave); None: no transaction."""
        def part(text):
            return struct.pack(">I", 0xFFFFFFFF if text is None else len(text))
        data = b"".join(part(key) + part(value) + (key or b"") + (value or b"") for key, value in messages)
        command = ["transact", self.name, transaction] if transaction else ["produce", self.name]
        done = subprocess.run([f"{BUILD}/kafka_tool", server("KAFKA_BROKERS"), *command], input=data,
                              capture_output=True)
        assert done.returncode == 0, done.stderr

    def make(self, partitions, **settings):
        self.run("make", partitions, *(word for key, value in settings.items()
                                       for word in (key.replace("_", "."), value)))

    def allow(self, kind, *operations):
        """Allows User:couponsd the operations on the topic or group (kind) of this name."""
        self.run("allow", kind, *operations)

    def cut(self, offset):
        """Deletes the messages below this offset in partition 0."""
        self.run("cut", offset)

    def grow(self, partitions):
        self.run("grow", partitions)

    def delete(self):
        self.run("delete")
