# SPDX-License-Identifier: Apache-2.0
"""After the failures end: waits until nothing is left to do, which must not take long, and compares the client's log
with the database, the topics and Redis. checks.py has the comparisons."""

import glob
import re
import time

from tests.chaos import checks
from tests.chaos.world import COUPONS, GARBAGE
from tests.harness.kafka import PUBLISHED, REQUESTED

# couponsd logs these lines when a promise is broken or couponsd itself has a defect.
BAD_LINES = re.compile(r"^.*(event=reconcile\.violation|event=reconcile\.frozen|event=issue\.messages_lost|"
                       r"event=complete\.dead_letters|Sanitizer|runtime error:|Assertion).*$", re.M)
RESENT = re.compile(r"event=reconcile\.unissued .*?tickets=(\d+)")


def wait_for_quiet(world, since, limit_s, give_up_s):
    """Returns the seconds from `since` until it was quiet. More than limit_s is a violation."""
    told = None
    while True:
        try:
            lags = world.lags()
        except RuntimeError as problem:
            lags = {str(problem): 1}
        seconds = time.monotonic() - since
        waiting = {what: lag for what, lag in lags.items() if lag}
        if not waiting:
            world.journal.note(f"quiet {seconds:.1f} s after the last repair")
            if seconds > limit_s:
                world.journal.violation(f"quiet {seconds:.1f} s after the last repair; the limit is {limit_s:.0f} s")
            return seconds
        if waiting != told:
            world.journal.note(f"{seconds:.1f} s after the last repair: {waiting}")
        told = waiting
        if seconds > give_up_s:
            world.journal.violation(f"{seconds:.0f} s after the last repair, this is still left to do: {waiting}")
            return seconds
        time.sleep(0.1)


def read_issued(world):
    issued = {coupon: {} for coupon in COUPONS}
    for coupon, user, ticket in world.numbers("select coupon_id, user_id, ticket from user_coupon"):
        issued[coupon].setdefault(user, []).append(ticket)
    return issued


def events_of(world, topic, dead):
    """dead: the (partition, offset) of each message that is a dead letter, not an event."""
    for line in world.kafka("events", topic):
        event = tuple(map(int, line.split()))
        if event[:2] not in dead:
            yield event


def dead_letters(world, n_garbage):
    """The dead letters must be exactly the garbage that this test has produced."""
    dead = set()
    for partition, offset, value, reason in world.sql(
            "select partition, message_offset, encode(value, 'escape'), reason from dead_letter"):
        dead.add((int(partition), int(offset)))
        if value != GARBAGE:
            world.journal.violation(f"unexpected dead letter: {partition}/{offset}: {reason}")
    if len(dead) < n_garbage:
        world.journal.violation(f"only {len(dead)} of {n_garbage} undecodable messages became dead letters")
    return dead


def read_logs(world):
    """Returns how many tickets the reconciler resent because they stayed unissued."""
    resent = 0
    for path in sorted(glob.glob(world.path("couponsd-*.log"))):
        with open(path, errors="replace") as log:
            text = log.read()
        for line in BAD_LINES.finditer(text):
            world.journal.violation(f"{path}: {line.group(0)}")
        resent += sum(map(int, RESENT.findall(text)))
    return resent


def reconcile(world, told, administrator):
    """Runs all checks; violations go to the journal."""
    ledger = checks.ledger_of((int(coupon), int(user), int(ticket), request_id) for coupon, user, ticket, request_id in
                              world.sql("select coupon_id, user_id, ticket, request_id from publish_request"))
    issued = read_issued(world)
    coupons = {row[0]: row[1:] for row in world.numbers("""
        select a.coupon_id, a.quantity, a.accepted, s.issued, s.rejected
        from admission a join issuance s using (coupon_id)""")}
    ranges = world.numbers(
        "select coupon_id, first_ticket, last_ticket from issued order by coupon_id, first_ticket, last_ticket")
    dead = dead_letters(world, administrator.garbage)
    initial = {coupon: quantity for coupon, (quantity, _) in COUPONS.items()}
    found = [
        told.problems[:10],
        checks.promises_are_kept(told, ledger, issued),
        checks.nobody_else_is_issued(ledger, issued),
        checks.refusals_hold(told, ledger, lambda coupon: coupon in world.changed_coupons),
        checks.tickets_have_no_gaps(ledger, coupons),
        checks.sold_out_means_sold_out(told, coupons, initial),
        checks.tickets_follow_the_answers(told),
        checks.ranges_do_not_overlap(ranges),
        checks.topic_is_complete(REQUESTED, events_of(world, REQUESTED, dead), ledger),
        checks.topic_is_complete(PUBLISHED, events_of(world, PUBLISHED, set()), ledger),
        checks.flags_are_true(world.flags(), world.true_flags()),
        (f"coupon {coupon}: quantity {coupons[coupon][0]} is not {quantity} plus the added quantities"
         for coupon, quantity in initial.items()
         if coupons[coupon][0] != quantity + administrator.added.get(coupon, 0)),
    ]
    for sentences in found:
        for sentence in sentences:
            world.journal.violation(sentence)
