# SPDX-License-Identifier: Apache-2.0
"""Runs the bench's load generator and echo servers, and reads their output."""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time

from tests.harness import BUILD
from tests.harness.processes import cpu_seconds, end

RUN = "b"  # short, so that a request id with a coupon id of ten digits has about 20 bytes
STOP_S = 20
ECHO_S, ECHO_WARM_S, ECHO_IN_FLIGHT = 0.6, 0.2, 1024

began = time.monotonic()


class Wrong(AssertionError):
    """A measurement contradicts what was asked, so it yields no figure."""


def say(text):
    print(f"bench: {time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)


def run_json(name, *arguments, timeout=600):
    """Runs one of our programs, which must succeed. Returns the JSON of its last line."""
    done = subprocess.run([f"{BUILD}/{name}", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise Wrong(f"{name} {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def run_text(name, *arguments):
    return subprocess.run([f"{BUILD}/{name}", *arguments], capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def serving(*command):
    """Runs a server that prints "listening HOST:PORT". Yields the process and the address."""
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
    """Returns bench_load's arguments: for an open loop if a rate is given, otherwise for a closed loop."""
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
    """Runs bench_load. Returns its counts."""
    return check_load(run_json("bench_load", *load_arguments(address, *what, options=options, **settings)))


@contextlib.contextmanager
def loading(address, *what, options, **settings):
    """Runs bench_load and yields the JSON of its lines as they come. The last one has its counts."""
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
    """Returns the CPU of an echo by the bare gRPC core. It shows the machine's speed at this kind of work, which
    changes within minutes."""
    options = argparse.Namespace(in_flight=ECHO_IN_FLIGHT, connections=2)
    with serving(f"{BUILD}/rpc_echo_raw", "--watch") as (process, address):
        load(address, "--echo", seconds=ECHO_WARM_S, options=options)
        before = cpu_seconds(process.pid)
        result = load(address, "--echo", seconds=ECHO_S, options=options)
        return (cpu_seconds(process.pid) - before) * 1e6 / result["answers"]


def expect_accepted(result, n):
    if result["accepted"] != n or result["outcomes"] != {"OK": n}:
        raise Wrong(f"of {n} requests, {result['accepted']} were accepted: {result['outcomes']}")
