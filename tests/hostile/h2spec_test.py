# SPDX-License-Identifier: Apache-2.0
"""Runs h2spec, a conformance test for HTTP/2, against couponsd.

gRPC's core handles the frames and is laxer than the protocol in places. KNOWN lists these cases and why they do no
harm. A failure that KNOWN does not list fails the test. The test prints the cases in KNOWN that pass, so that they can
be removed.
"""

import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from tests.harness import PATIENCE, Scenario

HERE = os.path.dirname(os.path.abspath(__file__))
H2SPEC = os.path.join(HERE, "..", "..", "build", "h2spec")
PARTS = "generic hpack http2/3 http2/4 http2/5 http2/6 http2/7 http2/8".split()
TIMEOUT_S = PATIENCE  # h2spec's time-out for each step

# Failures with gRPC's core 1.51.1: reason → (section, beginning of the title) of each case.
KNOWN = {
    "the core ignores frames for streams that are not open; they could change nothing": (
        ("http2/5.1", "idle: Sends a DATA"), ("http2/5.1", "idle: Sends a RST_STREAM"),
        ("http2/5.1", "idle: Sends a WINDOW_UPDATE"), ("http2/5.1", "half closed (remote): Sends a DATA"),
        ("http2/5.1", "half closed (remote): Sends a HEADERS"), ("http2/5.1", "closed: Sends a DATA"),
        ("http2/5.1", "closed: Sends a HEADERS"), ("http2/6.1", "Sends a DATA frame with 0x0"),
        ("http2/6.1", "Sends a DATA frame on the stream that is not in"),
        ("http2/6.4", "Sends a RST_STREAM frame on a idle"), ("http2/6.4", "Sends a RST_STREAM frame with 0x0")),
    "the core ignores a stream with an illegal number; no call begins": (
        ("http2/5.1.1", "Sends even-numbered"), ("http2/5.1.1", "Sends stream identifier that is numerically smaller"),
        ("http2/6.2", "Sends a HEADERS frame with 0x0")),
    "the core accepts a frame for the connection on any stream": (
        ("http2/6.7", "Sends a PING frame with a stream"), ("http2/6.8", "Sends a GOAWAY frame with a stream"),
        ("http2/5.4.1", "Sends an invalid PING")),
    "the core ignores priorities and pushes": (
        ("http2/5.3.1", "Sends HEADERS frame that depend on itself"),
        ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"), ("http2/6.3", "Sends a PRIORITY frame with"),
        ("http2/8.2", "Sends a PUSH_PROMISE")),
    "the core does not support padding; a padded frame makes no call, or an empty one": (
        ("http2/6.1", "Sends a DATA frame with invalid pad"), ("http2/6.2", "Sends a HEADERS frame with invalid pad")),
    "a PING with undefined flags ends the connection, which is stricter than the protocol": (
        ("http2/4.1", "Sends a frame with undefined flag"), ("http2/4.1", "Sends a frame with reserved field bit")),
    "the core counts windows in 64 bits, so they cannot overflow": (
        ("http2/6.9.1", "Sends multiple WINDOW_UPDATE frames increasing"),),
    "the core answers headers that make no gRPC call with a gRPC status instead of a reset": (
        ("http2/8.1.2", "Sends a HEADERS frame that contains the header field name in uppercase"),
        ("http2/8.1.2.1", "Sends a HEADERS frame that contains"), ("http2/8.1.2.2", "Sends a HEADERS frame that contains"),
        ("http2/8.1.2.3", "Sends a HEADERS frame")),
    "the core ignores content-length, because each message has its own length": (
        ("http2/8.1.2.6", "Sends a HEADERS frame with the \"content-length\""),),
    "the core does not check the padding of Huffman codes, which decodes to nothing": (
        ("hpack/5.2", "Sends a Huffman-encoded string literal representation pad"),
        ("hpack/5.2", "Sends a Huffman-encoded string literal representation with padding")),
    "h2spec's calls have no message, so the core answers immediately and the stream is neither open nor half-closed": (
        ("generic/2", "Sends a WINDOW_UPDATE frame on half-closed"),
        ("generic/2", "Sends a PRIORITY frame on half-closed"),
        ("http2/5.1.2", "Sends HEADERS frames that causes their advertised concurrent"),
        # These depend on timing: they pass if the core reads all the frames together.
        ("http2/6.9", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream"),
        ("http2/8.1", "Sends a second HEADERS frame without")),
    "a message length that is too large and comes in two frames ends the connection": (
        ("generic/3.1", "Sends multiple DATA frames"),),
}


def is_known(section, title):
    return any(section == known and title.startswith(beginning)
               for cases in KNOWN.values() for known, beginning in cases)


class H2spec(Scenario):
    def test_only_known_cases_fail(self):
        subprocess.run([os.path.join(HERE, "h2spec.sh")], check=True)
        server = self.start()
        host, port = server.grpc.rsplit(":", 1)
        runs = []
        for part in PARTS:
            report = f"{server.log.name}.{part.replace('/', '-')}.xml"
            self.addCleanup(lambda report=report: os.path.exists(report) and os.remove(report))
            runs.append((report, subprocess.Popen(
                [H2SPEC, "-h", host, "-p", port, "-P", "/grpc.health.v1.Health/Check", "-o", str(TIMEOUT_S),
                 "-j", report, part], stdout=subprocess.DEVNULL)))
        count, failed, passed = 0, [], []
        for report, process in runs:
            process.wait(200 * PATIENCE)
            for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
                count += 1
                name = (case.get("package"), case.get("classname"))
                is_failed = case.find("error") is not None or case.find("failure") is not None
                if is_failed and not is_known(*name):
                    failed.append((*name, "".join(case.itertext())))
                elif not is_failed and is_known(*name) and case.find("skipped") is None:
                    passed.append(name)
        print(f"\n{count} cases; known failures that passed: {passed}", file=sys.stderr)
        self.assertGreater(count, 140)
        self.assertIsNone(server.process.poll(), server.text()[-3000:])
        self.ctl(server, "health")
        self.assertEqual(failed, [])


if __name__ == "__main__":
    unittest.main()
