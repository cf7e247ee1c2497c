# SPDX-License-Identifier: Apache-2.0
"""bench_load counts answers, and reports wrong ones."""

import json
import socket
import struct
import subprocess
import threading
import unittest

from tests.harness import BUILD


def load(address, *arguments):
    return subprocess.run([f"{BUILD}/bench_load", "--echo", *arguments, address], capture_output=True, text=True,
                          timeout=60)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def serve_nonsense(listener):
    """Answers all calls of one connection with OK, but with a different message."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as file:
        file.read(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        connection.sendall(frame(4, 0, 0))
        while head := file.read(9):
            file.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            if kind == 0 and flags & 1:
                connection.sendall(frame(1, 4, stream, b"\x88")  # :status 200
                                   + frame(0, 0, stream, b"\0\0\0\0\x02\x10\x07")
                                   + frame(1, 5, stream, b"\x00\x0bgrpc-status\x010"))


class Load(unittest.TestCase):
    def serve(self):
        server = subprocess.Popen([f"{BUILD}/rpc_echo_raw"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.communicate)
        self.addCleanup(server.terminate)
        return server.stdout.readline().split()[1]

    def check(self, done, n):
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        result = json.loads(done.stdout)
        self.assertEqual([result[key] for key in ("requests", "answers", "accepted", "outcomes", "bad", "max_ticket")],
                         [n, n, n, {"OK": n}, 0, 0])
        self.assertAlmostEqual(result["per_s"], n / result["seconds"], delta=1)
        self.assertAlmostEqual(result["end_us"] - result["begin_us"], result["seconds"] * 1e6, delta=2)
        self.assertGreater(result["cpu_s"], 0)
        latencies = [result["latency_us"][key] for key in ("p50", "p90", "p99", "p999", "max")]
        self.assertEqual(latencies, sorted(latencies))
        self.assertEqual(result["latency_us"], result["accepted_latency_us"])
        return result

    def test_a_closed_loop_is_answered(self):
        self.check(load(self.serve(), "--requests", "2000", "--in-flight", "64"), 2000)

    def test_an_open_loop_keeps_its_timetable(self):
        result = self.check(load(self.serve(), "--requests", "500", "--rate", "1000"), 500)
        self.assertGreater(result["seconds"], 0.499)

    def test_an_answer_that_contradicts_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=serve_nonsense, args=(listener,))
            server.start()
            done = load(f"127.0.0.1:{listener.getsockname()[1]}", "--requests", "10", "--connections", "1")
            server.join()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^bench_load: the answer to request \d+ contradicts: .+\n$")
        self.assertEqual(json.loads(done.stdout)["bad"], 10)

    def test_where_nothing_listens_it_says_so(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = load(address, "--requests", "1")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"bench_load: connection 1 to {address}: cannot connect: Connection refused\n")


if __name__ == "__main__":
    unittest.main()
