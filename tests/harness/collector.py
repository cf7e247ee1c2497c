# SPDX-License-Identifier: Apache-2.0
"""A real OpenTelemetry Collector, and the spans that it prints (its debug exporter, with all details)."""

import datetime
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

from tests.harness import processes
from tests.harness.environment import ROOT
from tests.harness.otlp import Span
from tests.harness.ports import free_address
from tests.harness.waiting import wait_until

FOLDER = os.path.join(ROOT, "tests", "scenario")
PROGRAM = os.path.join(ROOT, "build", "tests", "collector")

ATTRIBUTE = re.compile(r" +-> ([^:]+): (\w+)\((.*)\)")
KINDS = {"Str": str, "Int": int}  # of attributes
FIELD = re.compile(r"    (\w[\w ]*?) *: ?(.*)")
TIME = re.compile(r"(\S+ \S+?)(?:\.(\d+))? \+0000 UTC")


def nanoseconds(text):
    seconds, fraction = TIME.fullmatch(text).groups()
    since_1970 = datetime.datetime.fromisoformat(f"{seconds}+00:00").timestamp()
    return int(since_1970) * 10**9 + int((fraction or "").ljust(9, "0"))


def span_of(fields, attributes, resource):
    """fields: as they are printed, by their names"""
    return Span(
        trace=fields["Trace ID"], id=fields["ID"], parent=fields["Parent ID"] or None, name=fields["Name"],
        kind=fields["Kind"].lower(), start=nanoseconds(fields["Start time"]), end=nanoseconds(fields["End time"]),
        error=fields["Status message"] if fields["Status code"] == "Error" else None,
        attributes=attributes, resource=resource)


def parse(text):
    """The spans in what the debug exporter has printed."""
    spans, attributes = [], None
    for line in text.splitlines():
        if line.startswith("ResourceSpans #"):
            resource = attributes = {}
        elif line.startswith("InstrumentationScope "):
            attributes = {}  # of the scope
        elif line.startswith("Span #"):
            fields, attributes = {}, {}
            spans.append((fields, attributes, resource))
        elif match := ATTRIBUTE.fullmatch(line):
            key, kind, value = match.groups()
            attributes[key] = KINDS[kind](value)
        elif match := FIELD.fullmatch(line):
            fields[match[1]] = match[2]
    return [span_of(*span) for span in spans]


class Collector:
    """Receives spans at `endpoint`."""

    def __init__(self):
        subprocess.run([os.path.join(FOLDER, "collector.sh")], check=True)
        address = free_address()
        self.endpoint = f"http://{address}/v1/traces"
        self.out, self.log = (tempfile.TemporaryFile("w+", dir=os.environ.get("TEST_DIR")) for _ in range(2))
        self.process = subprocess.Popen([PROGRAM, "--config", os.path.join(FOLDER, "collector", "config.yaml")],
                                        env={**os.environ, "OTLP_ADDRESS": address}, stdout=self.out, stderr=self.log)
        self.printed, self.received = "", []
        try:
            wait_until(self.is_ready, what="the collector receives traces")
        except BaseException:
            self.close()
            raise

    def is_ready(self):
        assert self.process.poll() is None, f"the collector has ended: {self.text(self.log)[-3000:]}"
        empty = urllib.request.Request(self.endpoint, b"", {"Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(empty, timeout=5) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False

    @staticmethod
    def text(file):
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()

    @property
    def spans(self):
        printed = self.text(self.out).rpartition("\n\n")[0]  # an empty line ends what is printed of a batch
        if printed != self.printed:
            self.printed, self.received = printed, parse(printed)
        return self.received

    def of(self, trace):
        return [span for span in self.spans if span.trace == trace]

    def close(self):
        processes.end(self.process, patience_s=20)
        self.out.close()
        self.log.close()
