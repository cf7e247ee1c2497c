# SPDX-License-Identifier: Apache-2.0
"""chaos.py [--seed N] [--minutes M]: two couponsd processes under load while everything around them fails; see
README.md."""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from tests.chaos import checks, schedule
from tests.chaos.actors import Administrator, Couponsd, Journal, Network, Server
from tests.chaos.reconcile import read_logs, reconcile, wait_for_quiet
from tests.chaos.world import COUPONS, World
from tests.harness import BUILD, PATIENCE

QUIET_S = 5  # from the last repair until nothing may be left to do
GIVE_UP_S = 30


def arguments():
    parser = argparse.ArgumentParser(prog="./dev chaos", description="Kills processes and cuts connections by a seeded "
                                                                     "schedule, then reconciles.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9), help="default: random")
    parser.add_argument("--minutes", type=float, default=3, help="duration of the failures, before the checks (3)")
    parser.add_argument("--callers", type=int, default=256, help="maximum number of requests in flight (256)")
    parser.add_argument("--rate", type=int, default=3000, help="maximum number of new requests per second (3000)")
    parser.add_argument("--least-kills", type=int, default=0, help="fail if there were fewer kills")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder even on success")
    return parser.parse_args()


def points():
    """All fault points of couponsd_faults."""
    return subprocess.run([f"{BUILD}/couponsd_faults"], env={**os.environ, "COUPONSD_FAULT": "list"},
                          capture_output=True, text=True, check=True).stdout.split()


class Run:
    def __init__(self, args):
        self.args, self.points = args, points()
        self.plan = schedule.make(args.seed, args.minutes, self.points, len(World.changed_coupons))
        self.world = World(Journal)
        self.client = None
        self.couponsds = [Couponsd(self.world, name, lives) for name, lives in self.plan.lives.items()]
        self.administrator = Administrator(self.world, self.plan.changes)
        self.actors = self.couponsds + [self.administrator]
        self.actors += [Server(self.world, name, outages) for name, outages in self.plan.outages.items()]
        self.actors += [Network(self.world, name, steps) for name, steps in self.plan.disturbances.items()]

    def prepare(self):
        self.world.up()
        first = self.couponsds[0]
        first.begin(None)
        first.await_ready()
        self.world.create_coupons()
        first.end()

    def start_client(self):
        coupons = [f"{coupon}:{weight}" for coupon, (_, weight) in COUPONS.items()]
        command = [f"{BUILD}/chaos_client", ",".join(self.world.grpc_addresses()), self.world.path("client.log"),
                   *map(str, (self.args.seed, self.args.callers, self.args.rate)), *coupons]
        with open(self.world.path("client.err"), "w") as errors:
            self.client = subprocess.Popen(command, stderr=errors)

    def storm(self):
        """Returns the time of the last repair."""
        self.start_client()
        for actor in self.actors:
            actor.start()
        until = time.monotonic() + self.args.minutes * 60
        while time.monotonic() < until and self.client.poll() is None:
            time.sleep(0.1)
        self.world.journal.note("the storm is over")
        for actor in self.actors:
            actor.stopping.set()
        for actor in self.actors:
            actor.join()
        for couponsd in self.couponsds:
            couponsd.await_ready()
        return max(actor.repaired_at for actor in self.actors)

    def stop_client(self):
        """Waits until every request in flight has its answer."""
        if self.client.poll() is None:
            self.client.terminate()
        try:
            code = self.client.wait(90)
        except subprocess.TimeoutExpired:
            self.client.kill()
            code = "a kill"
        if code != 0:
            self.world.journal.violation(f"the client ended with {code}: {self.world.read('client.err')}")

    def go(self):
        self.prepare()
        repaired_at = self.storm()
        self.stop_client()
        quiet_s = wait_for_quiet(self.world, repaired_at, QUIET_S * PATIENCE, GIVE_UP_S * PATIENCE)
        with open(self.world.path("client.log")) as log:
            told = checks.Told(log)
        reconcile(self.world, told, self.administrator)
        for couponsd in self.couponsds:
            couponsd.end()
        self.report(told, quiet_s)

    def report(self, told, quiet_s):
        journal = self.world.journal
        kills = sum(journal.kills.values())
        if kills < self.args.least_kills:
            journal.violation(f"there were {kills} kills, not {self.args.least_kills}")
        never = [point for point in self.points if point not in journal.hit]
        print(f"kills: {kills}  " + "  ".join(f"{what} {n}" for what, n in sorted(journal.kills.items())))
        print(f"fault points: {len(journal.hit)} of {len(self.points)} killed, {sum(journal.hit.values())} times")
        print("  " + "  ".join(f"{point} {n}" for point, n in sorted(journal.hit.items())))
        print("  no kill at: " + " ".join(never) if never else "  at every fault point")
        print(f"answers: {told.n_answers}, in {told.n_tries} tries; accepted: {told.n_accepted()}; "
              f"repeated with the same answer: {told.n_repeats}; refused: {sum(map(len, told.refused.values()))}")
        print(f"resent by the reconciler: {read_logs(self.world)} tickets; "
              f"quiet {quiet_s:.1f} s after the last repair")

    def clean_up(self):
        for process in [self.client] + [couponsd.process for couponsd in self.couponsds]:
            if process and process.poll() is None:
                process.kill()
                process.wait()
        self.world.down()


def main():
    args = arguments()
    print(f"./dev chaos --seed {args.seed} --minutes {args.minutes:g}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    run = Run(args)
    journal, finished = run.world.journal, False
    try:
        run.go()
        finished = True
    finally:
        for actor in run.actors:
            actor.stopping.set()
        for actor in run.actors:
            if actor.ident:
                actor.join()
        run.clean_up()
        if not finished or journal.violations:
            print(f"seed {args.seed}: the journal and all logs are in {run.world.dir}", flush=True)
    for sentence in journal.violations:
        print(f"VIOLATION: {sentence}")
    print(f"violations: {len(journal.violations)}")
    if journal.violations:
        sys.exit(1)
    if args.keep:
        print(f"kept: {run.world.dir}")
    else:
        run.world.remove()


if __name__ == "__main__":
    main()
