# SPDX-License-Identifier: Apache-2.0
"""Makes the schedule of failures from a seed. It uses no I/O and no clock: the same seed gives the same schedule.

Each actor has its own list of steps and works through it in order, so steps of different actors overlap freely. How
long a step takes depends on the machine; a broker, for instance, needs seconds to restart. Two runs of a seed therefore
have the same steps, in the same order per actor, with the same pauses between them, but not to the millisecond.
"""

import random
from dataclasses import dataclass
from typing import Optional

COUPONSDS = ("a", "b")
SERVERS = ("postgres", "redis", "kafka")

# How often a fault point may be passed before it kills: for points passed per event, and per batch.
EVENT_PASSES, BATCH_PASSES = 1000, 40
PER_EVENT = ("admit.amid_answers",) + tuple(
    f"relay_{stream}.{moment}" for stream in ("requested", "published")
    for moment in ("before_produce", "after_produce", "before_ack", "after_ack"))
# Points that are rarely passed. A life that is to end at one of them lasts longer.
SELDOM = {"postgres.connected": 9, "issue.before_offset_commit": 8, "issue.after_offset_commit": 8,
          "issue.offset_commit_confirmed": 8, "complete.before_offset_commit": 8, "complete.after_offset_commit": 8,
          "complete.offset_commit_confirmed": 8, "relay_requested.lanes_taken": 4, "relay_published.lanes_taken": 4,
          "admin.before_commit": 2, "admin.after_commit": 2, "issue.before_assign": 2, "issue.after_assign": 2}
SELDOM_PREFIXES = ("reconcile.", "gate.", "complete.", "rotate.", "admin.", "issue.before_dead", "issue.after_dead",
                   "issue.before_repos", "issue.after_repos", "admit.before_roll", "admit.after_roll")


@dataclass(frozen=True)
class Life:
    """One couponsd process. It dies when it passes the point for the `passes`-th time, or of kill -9 after limit_s."""
    point: Optional[str]
    passes: int
    limit_s: float
    down_s: float  # before the next life starts


@dataclass(frozen=True)
class Outage:
    """A server is killed (Postgres: stopped immediately) and restarted, with its data or without."""
    after_s: float
    down_s: float
    keep_data: bool


@dataclass(frozen=True)
class Disturbance:
    """The connections to a server are cut, half closed toward one side, delayed or stalled."""
    after_s: float
    what: str  # cut, half_close_to_client, half_close_to_server, delay, stall
    seconds: float
    delay_s: float


@dataclass(frozen=True)
class Change:
    """An administrator adds to a coupon or pauses it, or a stranger puts garbage into the topic."""
    after_s: float
    what: str  # add, pause, garbage
    coupon: int  # index
    quantity: int
    seconds: float  # of a pause


@dataclass(frozen=True)
class Schedule:
    lives: dict
    outages: dict
    disturbances: dict
    changes: tuple


def is_seldom(point):
    return point in SELDOM or point.startswith(SELDOM_PREFIXES)


def passes_of(rng, point):
    if point in PER_EVENT:
        return rng.randint(1, EVENT_PASSES)
    if point in SELDOM:
        return rng.randint(1, SELDOM[point])
    return 1 if is_seldom(point) else rng.randint(1, BATCH_PASSES)


def lives(rng, order, seconds):
    """The points come in the given order, again and again. One life in ten has no point and is killed from outside."""
    time, at = 0.0, 0
    while time < seconds:
        point = None
        if order and rng.random() > 1 / 10:
            point, at = order[at % len(order)], at + 1
        limit_s = rng.uniform(7, 13) if point and is_seldom(point) else rng.uniform(3, 7)
        life = Life(point, passes_of(rng, point) if point else 0, limit_s, rng.uniform(0, 1.2))
        yield life
        time += life.down_s + 1  # a life may end as soon as the process has started


def outages(rng, seconds, every_s, down_s):
    time = 0.0
    while time < seconds:
        outage = Outage(rng.uniform(0.5, 1.5) * every_s, rng.uniform(0, down_s), rng.random() < 0.5)
        yield outage
        time += outage.after_s + outage.down_s


def disturbances(rng, seconds, every_s):
    time = 0.0
    while time < seconds:
        what = rng.choice(("cut", "half_close_to_client", "half_close_to_server", "delay", "stall"))
        longest = 4.0 if what == "delay" else 2.0
        yield Disturbance(rng.uniform(0.5, 1.5) * every_s, what, rng.uniform(0.1, longest), rng.uniform(0.02, 0.3))
        time += every_s / 2


def changes(rng, seconds, n_coupons):
    time = 0.0
    while time < seconds:
        what = rng.choice(("add", "add", "pause", "garbage"))
        change = Change(rng.uniform(0.5, 2.5), what, rng.randrange(n_coupons), rng.randint(1, 3000),
                        rng.uniform(0.2, 2))
        yield change
        time += change.after_s


def make(seed, minutes, points, n_changed_coupons):
    """`points`: the fault points of couponsd, in any order. Administrators change coupons 0..n_changed_coupons-1."""
    seconds = minutes * 60
    rng = random.Random(seed)
    order = sorted(points)
    rng.shuffle(order)
    half = len(order) // 2
    return Schedule(
        # The two start at different points, so that all points come up sooner.
        lives={"a": tuple(lives(rng, order, seconds)), "b": tuple(lives(rng, order[half:] + order[:half], seconds))},
        outages={"postgres": tuple(outages(rng, seconds, 22, 1.5)), "redis": tuple(outages(rng, seconds, 5, 1.5)),
                 "kafka": tuple(outages(rng, seconds, 28, 2))},
        disturbances={"postgres": tuple(disturbances(rng, seconds, 9)), "redis": tuple(disturbances(rng, seconds, 6)),
                      "kafka": tuple(disturbances(rng, seconds, 9))},
        changes=tuple(changes(rng, seconds, n_changed_coupons)))
