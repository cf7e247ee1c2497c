#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/rpcs.md from the comments of proto/coupon/v1.

usage: tools/rpc_reference.py [--check]

protoc writes a FileDescriptorSet with source info. This program reads that set's wire format by itself, so that it needs
protoc and nothing else. With --check it writes nothing, and fails when the page is not current.
"""

import glob
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "reference", "rpcs.md")
SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool",
           9: "string", 12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64"}
REPEATED = 3
HEAD = """# RPCs

Made by `tools/rpc_reference.py` from the comments in [proto/coupon/v1](../../proto/coupon/v1).
[Reasons](reasons.md) lists how calls fail.
"""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """Field number → its values, in order: numbers, or bytes."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[tag & 7]
            value, at = data[at:at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def packed(data):
    numbers, at = [], 0
    while at < len(data):
        number, at = varint(data, at)
        numbers.append(number)
    return tuple(numbers)


def text(message, number):
    return message.get(number, [b""])[0].decode()


def messages(message, number):
    return [fields(data) for data in message.get(number, [])]


class File:
    def __init__(self, data):
        self.file = fields(data)
        self.comments = {}
        for location in messages(fields(self.file[9][0]), 1):
            path = packed(location.get(1, [b""])[0])
            self.comments[path] = " ".join((text(location, 3) + " " + text(location, 4)).split())

    def cell(self, path):
        return self.comments.get(path, "").replace("|", "\\|")

    def services(self):
        for at, service in enumerate(messages(self.file, 6)):
            yield f"\n## {text(service, 1)}\n"
            yield self.comments.get((6, at), "") + "\n"
            yield "| RPC | request | response | |\n|---|---|---|---|"
            for index, method in enumerate(messages(service, 2)):
                kinds = [("stream " if method.get(number) == [1] else "") + text(method, name).rsplit(".", 1)[1]
                         for number, name in ((5, 2), (6, 3))]
                yield f"| {text(method, 1)} | {kinds[0]} | {kinds[1]} | {self.cell((6, at, 2, index))} |"

    def types(self):
        for at, message in enumerate(messages(self.file, 4)):
            yield from self.message(message, (4, at), "")
        for at, enum in enumerate(messages(self.file, 5)):
            yield from self.enum(enum, (5, at), "")

    def message(self, message, path, outer):
        name = outer + text(message, 1)
        yield f"\n### {name}\n"
        if self.comments.get(path):
            yield self.comments[path] + "\n"
        yield "| field | type | |\n|---|---|---|"
        for index, field in enumerate(messages(message, 2)):
            kind = SCALARS.get(field[5][0]) or text(field, 6).lstrip(".").removeprefix("coupon.v1.")
            if field.get(4) == [REPEATED]:
                kind = "repeated " + kind
            yield f"| {text(field, 1)} = {field[3][0]} | {kind} | {self.cell((*path, 2, index))} |"
        for index, inner in enumerate(messages(message, 3)):
            yield from self.message(inner, (*path, 3, index), name + ".")
        for index, enum in enumerate(messages(message, 4)):
            yield from self.enum(enum, (*path, 4, index), name + ".")

    def enum(self, enum, path, outer):
        yield f"\n### {outer}{text(enum, 1)}\n"
        if self.comments.get(path):
            yield self.comments[path] + "\n"
        yield "| value | |\n|---|---|"
        for index, value in enumerate(messages(enum, 2)):
            yield f"| {text(value, 1)} = {value.get(2, [0])[0]} | {self.cell((*path, 2, index))} |"


def page():
    protos = sorted(glob.glob(os.path.join(ROOT, "proto", "coupon", "v1", "*.proto")))
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "set")
        subprocess.run(["protoc", f"-I{os.path.join(ROOT, 'proto')}", "--include_source_info",
                        f"--descriptor_set_out={out}", *protos], check=True)
        with open(out, "rb") as file:
            parts = [File(data) for data in fields(file.read())[1]]
    parts.sort(key=lambda part: text(part.file, 1))
    lines = [HEAD.rstrip()]
    for part in parts:
        lines += part.services()
    lines.append("\n## Messages and enums")
    for part in parts:
        lines += part.types()
    return "\n".join(line.rstrip(" ") for line in lines) + "\n"


def main():
    wanted = page()
    if sys.argv[1:] == ["--check"]:
        with open(PAGE, encoding="utf-8") as file:
            if file.read() != wanted:
                sys.exit("docs/reference/rpcs.md is not current: run tools/rpc_reference.py")
    elif sys.argv[1:]:
        sys.exit("usage: tools/rpc_reference.py [--check]")
    else:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(wanted)


if __name__ == "__main__":
    main()
