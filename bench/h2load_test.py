# SPDX-License-Identifier: Apache-2.0
"""The load generators of ./dev bench (bench_load) and ./dev bench rpc (rpc_load) are compared with h2load, of nghttp2:
on the same server, with as many connections and calls in flight, in turns.

The server counts the calls, so the number of calls is compared exactly. Rates and the server's CPU a call differ for a
reason: a generator that gathers answers before it makes new calls lets the server take more calls at once, and one that
spends more CPU takes it from the server. The bounds are the least and the greatest median of seven measurements on two
machines (the core with 1 to 16 connections and 16 to 1,024 calls in flight, and the bridge; five rounds each, 2 cores),
times two on either side. So the test finds a rate that is wrong by a factor; the number of calls finds the rest.

    beside h2load                 rate            CPU of the server, a call
    bench_load                    1.01 to 1.50    0.77 to 1.09
    bench_load --gather-us 0      0.86 to 1.58    0.90 to 1.28
    rpc_load (the core, threads)  0.53 to 0.88    0.89 to 1.27

"""

import json
import re
import statistics
import struct
import subprocess
import tempfile
import unittest

from tests.harness import BUILD
from tests.harness.processes import cpu_seconds, end

CONNECTIONS, EACH = 2, 64
CALLS = 60000
RPC_SECONDS = 0.6
ROUNDS = 5
NOTE = b"\x0a\x20" + b"0123456789abcdef0123456789abcdef" + b"\x10\x87\xad\x4b"
MARGIN = 2
# generator → bounds of its rate and of the server's CPU a call, beside h2load
BOUNDS = {
    "bench_load": ((1.01, 1.50), (0.77, 1.09)),
    "bench_load --gather-us 0": ((0.86, 1.58), (0.90, 1.28)),
    "rpc_load": ((0.53, 0.88), (0.89, 1.27)),
}


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=60).stdout


def bench_load(address, *arguments):
    result = json.loads(run(f"{BUILD}/bench_load", "--echo", "--requests", CALLS, "--connections", CONNECTIONS,
                            "--in-flight", CONNECTIONS * EACH, *arguments, address))
    assert result["outcomes"] == {"OK": CALLS}, result
    return result["answers"], result["per_s"]


def rpc_load(address):
    result = json.loads(run(f"{BUILD}/rpc_load", address, RPC_SECONDS, CONNECTIONS, EACH))
    assert result["failed"] == 0, result
    return result["all_calls"], result["calls"] / result["seconds"]


def h2load(address, body):
    text = run("h2load", "-n", CALLS, "-c", CONNECTIONS, "-m", EACH, "-d", body, "-H", "content-type: application/grpc",
               "-H", "te: trailers", f"http://{address}/toy.v1.Toy/Echo")
    calls, good = re.search(r"(\d+) done, (\d+) succeeded", text).groups()
    assert calls == good == str(CALLS), text
    return int(calls), float(re.search(r", ([\d.]+) req/s", text).group(1))


class BesideH2load(unittest.TestCase):
    def compare(self, *command):
        """Runs the generators in turns. Returns name → (rate, CPU) of each round, and checks the number of calls."""
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(end, server, patience_s=20)
        address = server.stdout.readline().split()[1]
        total, rounds = 0, {}
        with tempfile.NamedTemporaryFile() as body:
            body.write(struct.pack(">BI", 0, len(NOTE)) + NOTE)
            body.flush()
            generators = {"h2load": lambda: h2load(address, body.name),
                          "bench_load": lambda: bench_load(address),
                          "bench_load --gather-us 0": lambda: bench_load(address, "--gather-us", 0),
                          "rpc_load": lambda: rpc_load(address)}
            for number in range(ROUNDS + 1):
                for name, generate in generators.items():
                    before = cpu_seconds(server.pid)
                    calls, per_s = generate()
                    total += calls
                    if number:  # the first round warms up
                        cpu_us = (cpu_seconds(server.pid) - before) * 1e6 / calls
                        rounds.setdefault(name, []).append((per_s, cpu_us))
        server.terminate()
        self.assertEqual(json.loads(server.stdout.readline())["calls"], total)
        return rounds

    def check(self, *command):
        rounds = self.compare(*command)
        for name, bounds in BOUNDS.items():
            for which, (low, high) in enumerate(bounds):
                ratio = statistics.median(one[which] / h2[which] for one, h2 in zip(rounds[name], rounds["h2load"]))
                what = f"{name}, {('rate', 'CPU of the server a call')[which]} beside h2load: {ratio:.2f}; {rounds}"
                print(what.split(";")[0])
                self.assertGreater(ratio, low / MARGIN, what)
                self.assertLess(ratio, high * MARGIN, what)

    def test_on_the_core(self):
        self.check(f"{BUILD}/rpc_echo_raw", "--watch")

    def test_on_the_bridge(self):
        self.check(f"{BUILD}/rpc_echo_bridge", f"{BUILD}/tests/unit/rpc/toy.pb")


if __name__ == "__main__":
    unittest.main()
