# SPDX-License-Identifier: Apache-2.0
"""The programs of the bench that serve or load: bench_load, echo servers, and what they say."""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time

from tests.harness import BUILD
from tests.harness.processes import cpu_seconds, end

RUN = "b"  # names of runs are short: a request id, with a coupon id of ten digits, then has about 20 bytes
STOP_S = 20
ECHO_S, ECHO_WARM_S, ECHO_IN_FLIGHT = 0.6, 0.2, 1024

began = time.monotonic()


class Wrong(AssertionError):
    """A measurement contradicts what was asked, so it yields no figure."""


def say(text):
    print(f"bench: {time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)


def run_json(name, *arguments, timeout=600):
    """Runs one of our programs, which must end well; returns what its last line says."""
    done = subprocess.run([f"{BUILD}/{name}", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise Wrong(f"{name} {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def run_text(name, *arguments):
    return subprocess.run([f"{BUILD}/{name}", *arguments], capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def serving(*command):
    """A server that says "listening HOST:PORT"; yields the process and the address."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"listening (\S+)\n", line)
        if not found:
            raise Wrong(f"{command[0]} says {line!r}")
        yield process, found.group(1)
    finally:
        end(process, patience_s=STOP_S)
        process.stdout.close()


def load_arguments(address, *what, options, **settings):
    """bench_load's; a closed loop unless a rate is given."""
    given = {"connections": options.connections, "run": RUN, **settings}
    if what != ("--echo",):
        what = ("--coupons", *what)
    else:
        del given["run"]
    if "rate" not in given:
        given.setdefault("in-flight", options.in_flight)
    return [address, *what, *(str(word) for key, value in given.items()
                              for word in (f"--{key.replace('_', '-')}", value))]


def check_load(result):
    if result["bad"] or result["answers"] != result["requests"]:
        raise Wrong(f"bench_load: {result}")
    return result


def load(address, *what, options, **settings):
    """What bench_load has counted."""
    return check_load(run_json("bench_load", *load_arguments(address, *what, options=options, **settings)))


@contextlib.contextmanager
def loading(address, *what, options, **settings):
    """bench_load while it runs: what its lines say, as they come. The last one is what it has counted."""
    process = subprocess.Popen([f"{BUILD}/bench_load", *load_arguments(address, *what, options=options, **settings)],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield map(json.loads, process.stdout)
        if process.wait():
            raise Wrong(f"bench_load ended with {process.returncode}")
    finally:
        end(process, patience_s=STOP_S)
        process.stdout.close()


def echo_us():
    """CPU that the bare gRPC core takes for an echo: the speed of the machine, which changes within minutes, in the kind
    of work that this is."""
    options = argparse.Namespace(in_flight=ECHO_IN_FLIGHT, connections=2)
    with serving(f"{BUILD}/rpc_echo_raw", "--watch") as (process, address):
        load(address, "--echo", seconds=ECHO_WARM_S, options=options)
        before = cpu_seconds(process.pid)
        result = load(address, "--echo", seconds=ECHO_S, options=options)
        return (cpu_seconds(process.pid) - before) * 1e6 / result["answers"]


def expect_accepted(result, n):
    if result["accepted"] != n or result["outcomes"] != {"OK": n}:
        raise Wrong(f"of {n} requests {result['accepted']} were accepted: {result['outcomes']}")
