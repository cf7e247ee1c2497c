# SPDX-License-Identifier: Apache-2.0
"""What a second poller (grpc.pollers) brings: refusing as sold out and accepting, with one poller and with two, in turns.

The load takes a part of the same cores, so the ratio of the rates tells less than it would on a larger machine. The
scaling is what the CPU a call promises where cores are left: twice the CPU a call with one poller, divided by the CPU a
call with two. It is 2 where the second poller costs nothing."""

from bench.calls import LATER_LOSER, sell_out, warm_up
from bench.programs import Wrong, expect_accepted, load, say
from bench.stand import ALONE, PATIENT, Stand, changed
from tests.harness.processes import cpu_seconds

POLLERS = (1, 2)
CONNECTIONS = 8  # a connection is served by one poller, so both should have some


class Target:
    """What warm_up needs to know of a server."""

    def __init__(self, server, what):
        self.address, self.what = server.grpc, [what]


def timed(server, what, options, **settings):
    """Runs the load. Returns its result and the figures."""
    before = cpu_seconds(server.process.pid)
    result = load(server.grpc, what, options=options, **settings)
    cpu = cpu_seconds(server.process.pid) - before
    return result, {"per_s": result["answers"] / result["seconds"], "cpu_us": cpu * 1e6 / result["answers"]}


def refuse(stand, what, pollers, options):
    server = stand.start(grpc__pollers=pollers)
    warm_up(Target(server, what), options)
    result, one = timed(server, what, options, seconds=options.call_seconds, first_user=LATER_LOSER)
    if result["outcomes"] != {"SOLD_OUT": result["answers"]}:
        raise Wrong(f"some answers were not SOLD_OUT: {result['outcomes']}")
    stand.stop(server)
    return one


def accept(pollers, options):
    with Stand() as stand:
        server = stand.start(**ALONE, **PATIENT, grpc__pollers=pollers)
        warm, what = (stand.create_some(server, 1, n) for n in (options.warm, options.n))
        load(server.grpc, warm, requests=options.warm, options=options)
        result, one = timed(server, what, options, requests=options.n)
        expect_accepted(result, options.n)
        stand.stop(server)
        stand.check_accepted(options.n + options.warm)
    return one


def measure(options):
    """Returns what → pollers → rounds."""
    options = changed(options, connections=max(options.connections, CONNECTIONS))
    results = {what: {pollers: [] for pollers in POLLERS} for what in ("sold_out", "accept")}
    with Stand() as stand:
        sold = sell_out(stand)
        for number in range(options.rounds):
            for pollers in POLLERS:
                results["sold_out"][pollers].append(refuse(stand, sold, pollers, options))
            for pollers in POLLERS:
                results["accept"][pollers].append(accept(pollers, options))
            say(f"pollers, round {number + 1} of {options.rounds}: " + ", ".join(
                f"{what} with {pollers} {rounds[-1]['per_s']:,.0f}/s" for what, by in results.items()
                for pollers, rounds in by.items()))
    return results
