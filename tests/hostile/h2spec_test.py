# SPDX-License-Identifier: Apache-2.0
"""h2spec, the conformance tests for HTTP/2, against couponsd.

The frames are gRPC's core's, which is laxer than the protocol in places: KNOWN says where, and why that is no harm. A
case that fails and is not there is new, and fails the test. Cases that begin to pass are told, so that they can go.
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
TIMEOUT_S = PATIENCE  # how long h2spec waits for each thing

# As gRPC's core 1.51.1 does it. By reason: section and beginning of the title.
KNOWN = {
    "frames for streams that are not open are read and forgotten: there is nothing that they could change": (
        ("http2/5.1", "idle: Sends a DATA"), ("http2/5.1", "idle: Sends a RST_STREAM"),
        ("http2/5.1", "idle: Sends a WINDOW_UPDATE"), ("http2/5.1", "half closed (remote): Sends a DATA"),
        ("http2/5.1", "half closed (remote): Sends a HEADERS"), ("http2/5.1", "closed: Sends a DATA"),
        ("http2/5.1", "closed: Sends a HEADERS"), ("http2/6.1", "Sends a DATA frame with 0x0"),
        ("http2/6.1", "Sends a DATA frame on the stream that is not in"),
        ("http2/6.4", "Sends a RST_STREAM frame on a idle"), ("http2/6.4", "Sends a RST_STREAM frame with 0x0")),
    "a stream whose number may not be is passed over: no call begins": (
        ("http2/5.1.1", "Sends even-numbered"), ("http2/5.1.1", "Sends stream identifier that is numerically smaller"),
        ("http2/6.2", "Sends a HEADERS frame with 0x0")),
    "a frame that is for the connection is taken whatever its stream": (
        ("http2/6.7", "Sends a PING frame with a stream"), ("http2/6.8", "Sends a GOAWAY frame with a stream"),
        ("http2/5.4.1", "Sends an invalid PING")),
    "priorities and pushes are not looked at": (
        ("http2/5.3.1", "Sends HEADERS frame that depend on itself"),
        ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"), ("http2/6.3", "Sends a PRIORITY frame with"),
        ("http2/8.2", "Sends a PUSH_PROMISE")),
    "padding is not known: what has it makes no call, or an empty one": (
        ("http2/6.1", "Sends a DATA frame with invalid pad"), ("http2/6.2", "Sends a HEADERS frame with invalid pad")),
    "a PING with flags that mean nothing ends the connection: stricter than need be": (
        ("http2/4.1", "Sends a frame with undefined flag"), ("http2/4.1", "Sends a frame with reserved field bit")),
    "windows are counted in 64 bits and can't overflow": (
        ("http2/6.9.1", "Sends multiple WINDOW_UPDATE frames increasing"),),
    "headers that make no gRPC call are answered by a gRPC status and not by a reset": (
        ("http2/8.1.2", "Sends a HEADERS frame that contains the header field name in uppercase"),
        ("http2/8.1.2.1", "Sends a HEADERS frame that contains"), ("http2/8.1.2.2", "Sends a HEADERS frame that contains"),
        ("http2/8.1.2.3", "Sends a HEADERS frame")),
    "content-length is not looked at: a message has its own": (
        ("http2/8.1.2.6", "Sends a HEADERS frame with the \"content-length\""),),
    "padding of Huffman codes is not checked: it decodes to nothing": (
        ("hpack/5.2", "Sends a Huffman-encoded string literal representation pad"),
        ("hpack/5.2", "Sends a Huffman-encoded string literal representation with padding")),
    "h2spec's calls come without a message and are answered at once, so that they are neither open nor half-closed": (
        ("generic/2", "Sends a WINDOW_UPDATE frame on half-closed"),
        ("generic/2", "Sends a PRIORITY frame on half-closed"),
        ("http2/5.1.2", "Sends HEADERS frames that causes their advertised concurrent"),
        # Of these it depends on timing: they pass when the core reads the frames at once.
        ("http2/6.9", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream"),
        ("http2/8.1", "Sends a second HEADERS frame without")),
    "a message's length that is too large, and comes in two frames, ends the connection": (
        ("generic/3.1", "Sends multiple DATA frames"),),
}


def is_known(section, title):
    return any(section == known and title.startswith(beginning)
               for cases in KNOWN.values() for known, beginning in cases)


class H2spec(Scenario):
    def test_no_case_fails_that_is_not_known(self):
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
        print(f"\n{count} cases; known to fail, but passed: {passed}", file=sys.stderr)
        self.assertGreater(count, 140)
        self.assertIsNone(server.process.poll(), server.text()[-3000:])
        self.ctl(server, "health")
        self.assertEqual(failed, [])


if __name__ == "__main__":
    unittest.main()
