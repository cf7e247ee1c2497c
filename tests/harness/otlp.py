# SPDX-License-Identifier: Apache-2.0
"""A receiver of traces: OTLP over HTTP. protoc decodes what comes, by OpenTelemetry's own protos and without any code of
couponsd, and refuses what does not fit them."""

import dataclasses
import http.server
import os
import re
import subprocess
import threading

from tests.harness.environment import ROOT

KINDS = {"SPAN_KIND_INTERNAL": "internal", "SPAN_KIND_SERVER": "server", "SPAN_KIND_CLIENT": "client",
         "SPAN_KIND_PRODUCER": "producer", "SPAN_KIND_CONSUMER": "consumer"}
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t"}


def unescape(text):
    """The bytes of a string in protobuf's text format."""
    def one(match):
        code = match[1].decode()
        return bytes([int(code, 8)]) if code[0].isdigit() else ESCAPES.get(code, match[1])
    return re.sub(rb"\\([0-7]{1,3}|.)", one, text.encode())


def parse(lines):
    """Reads protobuf's text format: a dictionary of field → list of values."""
    found = {}
    for line in lines:
        line = line.strip()
        if line == "}":
            break
        if line.endswith("{"):
            found.setdefault(line[:-1].strip(), []).append(parse(lines))
        else:
            name, _, value = line.partition(": ")
            assert not name.isdigit(), f"the protos have no field {name}"
            found.setdefault(name, []).append(unescape(value[1:-1]) if value[0] == '"' else value)
    return found


def decode(data):
    folder = os.path.join(ROOT, "proto")
    done = subprocess.run(["protoc", f"-I{folder}", "--decode=opentelemetry.proto.trace.v1.TracesData",
                           "opentelemetry/proto/trace/v1/trace.proto"], input=data, capture_output=True, check=True,
                          cwd=folder)
    return parse(iter(done.stdout.decode().splitlines()))


def attributes(message):
    found = {}
    for attribute in message.get("attributes", []):
        (kind, (value,)), = attribute["value"][0].items()
        found[attribute["key"][0].decode()] = value.decode() if kind == "string_value" else int(value)
    return found


@dataclasses.dataclass(repr=False)
class Span:
    trace: str
    id: str
    parent: str | None
    name: str
    kind: str
    start: int  # nanoseconds since 1970
    end: int
    error: str | None  # the text of the status, if that is an error
    attributes: dict
    resource: dict

    @property
    def step(self):
        return self.attributes["couponsd.step"]

    def __repr__(self):
        return f"<{self.step} {self.id} of {self.parent}: {self.name} {self.attributes} {self.error or ''}>"


def span_of(message, resource):
    status = message.get("status", [{}])[0]
    return Span(
        trace=message["trace_id"][0].hex(), id=message["span_id"][0].hex(),
        parent=message["parent_span_id"][0].hex() if "parent_span_id" in message else None,
        name=message["name"][0].decode(), kind=KINDS[message["kind"][0]],
        start=int(message["start_time_unix_nano"][0]), end=int(message["end_time_unix_nano"][0]),
        error=status["message"][0].decode() if status.get("code") == ["STATUS_CODE_ERROR"] else None,
        attributes=attributes(message), resource=resource)


class Receiver:
    """Receives spans at `endpoint`. `answer` is the status that it gives; with None it keeps clients waiting."""

    def __init__(self, answer=200):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers)))
                status = receiver.answer
                if status is None:
                    receiver.stopped.wait()
                    return
                if status == 200:
                    receiver.take(data)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.answer, self.requests, self.spans, self.wrong = answer, [], [], []
        self.stopped = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, data):
        try:
            for of_resource in decode(data)["resource_spans"]:
                resource = attributes(of_resource["resource"][0])
                for of_scope in of_resource["scope_spans"]:
                    self.spans += [span_of(message, resource) for message in of_scope["spans"]]
        except Exception as problem:  # the test asks for it, in another thread
            self.wrong.append(problem)

    def of(self, trace):
        assert not self.wrong, self.wrong
        return [span for span in self.spans if span.trace == trace]

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
