# SPDX-License-Identifier: Apache-2.0
"""The checks after the run: pure functions of the answers that clients got, the rows in the database, and the events in
the topics. Each check yields one sentence per violation. Rows are tuples of numbers and text; the docstrings name their
order."""

from collections import defaultdict
from dataclasses import dataclass

ACCEPTED = ("ACCEPTED", "ISSUED")
REFUSED = ("SOLD_OUT", "PAUSED")


@dataclass
class Answer:
    """The answers to one user about one coupon."""
    ticket: int
    first_sent: int
    answered: int  # time of the first answer


class Told:
    """The client's log. `accepted`: coupon → user → Answer; `refused`: coupon → user → (outcome, tries); `problems`: a
    sentence per contradiction."""

    def __init__(self, lines):
        self.accepted, self.refused = defaultdict(dict), defaultdict(dict)
        self.problems, self.n_answers, self.n_repeats, self.n_tries = [], 0, 0, 0
        for line in lines:
            coupon, user, request_id, outcome, ticket, tries, first_sent, answered, _ = line.split()
            self.add(int(coupon), int(user), request_id, outcome, int(ticket), int(tries), int(first_sent),
                     int(answered))

    def add(self, coupon, user, request_id, outcome, ticket, tries, first_sent, answered):
        self.n_answers += 1
        self.n_tries += tries
        known = self.accepted[coupon].get(user)
        if outcome in ACCEPTED and request_id == f"chaos-{user}":
            if known is None:
                self.accepted[coupon][user] = Answer(ticket, first_sent, answered)
            else:
                self.n_repeats += 1
                if known.ticket != ticket:
                    self.problems.append(f"coupon {coupon}, user {user}: told ticket {known.ticket}, then {ticket}")
        elif outcome == "ALREADY_REQUESTED" and request_id != f"chaos-{user}":
            if known is None or known.ticket != ticket:
                self.problems.append(f"coupon {coupon}, user {user}: another request_id got ticket {ticket}, "
                                     f"not {known and known.ticket}")
        elif outcome in REFUSED and known is None:
            self.refused[coupon][user] = (outcome, tries)
        else:
            self.problems.append(f"coupon {coupon}, user {user}, {request_id}: {outcome} {ticket} does not fit")

    def n_accepted(self):
        return sum(map(len, self.accepted.values()))


def some(found, what):
    """Yields one sentence: how many were found, and the first few of them."""
    if found:
        yield f"{len(found)} {what}, e.g. {', '.join(map(str, found[:3]))}"


def ledger_of(rows):
    """rows: coupon, user, ticket, request_id → coupon → user → (ticket, request_id)"""
    ledger = defaultdict(dict)
    for coupon, user, ticket, request_id in rows:
        ledger[coupon][user] = (ticket, request_id)
    return ledger


def promises_are_kept(told, ledger, issued):
    """ledger: see ledger_of; issued: coupon → user → list of tickets."""
    for coupon, answers in told.accepted.items():
        wrong = [(user, answer.ticket, ledger[coupon].get(user)) for user, answer in answers.items()
                 if ledger[coupon].get(user) != (answer.ticket, f"chaos-{user}")]
        yield from some(wrong, f"users of coupon {coupon} got another ticket than the ledger has (user, told, ledger)")
        wrong = [(user, answer.ticket, issued[coupon].get(user)) for user, answer in answers.items()
                 if issued[coupon].get(user) != [answer.ticket]]
        yield from some(wrong, f"accepted users of coupon {coupon} do not hold exactly the ticket they were told "
                               "(user, told, issued)")


def nobody_else_is_issued(ledger, issued):
    for coupon, holders in issued.items():
        wrong = [(user, tickets, ledger[coupon].get(user)) for user, tickets in holders.items()
                 if len(tickets) != 1 or tickets[0] != ledger[coupon].get(user, (None,))[0]]
        yield from some(wrong, f"users hold other tickets of coupon {coupon} than the ledger has (user, held, ledger)")
    for coupon, users in ledger.items():
        yield from some([user for user in users if user not in issued[coupon]],
                        f"users are in the ledger of coupon {coupon} but hold nothing (user)")


def refusals_hold(told, ledger, is_changed):
    """A user who was refused holds no ticket. The exception: the user tried several times while an administrator
    changed the coupon (is_changed), and an earlier try, whose answer was lost, was accepted."""
    for coupon, users in told.refused.items():
        wrong = [user for user, (_, tries) in users.items()
                 if user in ledger[coupon] and (tries == 1 or not is_changed(coupon))]
        yield from some(wrong, f"users were refused coupon {coupon} but are in its ledger (user)")


def tickets_have_no_gaps(ledger, coupons):
    """coupons: id → (quantity, accepted, issued, rejected)"""
    for coupon, (quantity, accepted, issued, rejected) in coupons.items():
        tickets = sorted(ticket for ticket, _ in ledger[coupon].values())
        if tickets != list(range(1, len(tickets) + 1)):
            yield f"coupon {coupon}: {len(tickets)} tickets are not 1 to {len(tickets)}; the last is {tickets[-1]}"
        if not len(tickets) == accepted == issued + rejected or rejected or accepted > quantity:
            yield (f"coupon {coupon}: quantity {quantity}, {len(tickets)} in the ledger, accepted {accepted}, "
                   f"issued {issued}, rejected {rejected}")


def sold_out_means_sold_out(told, coupons, initial):
    """initial: id → quantity at the start."""
    for coupon, users in told.refused.items():
        if any(outcome == "SOLD_OUT" for outcome, _ in users.values()) and coupons[coupon][1] < initial[coupon]:
            yield (f"coupon {coupon}: a user was told SOLD_OUT, but only {coupons[coupon][1]} of {initial[coupon]} "
                   "tickets were accepted")


def tickets_follow_the_answers(told):
    """A request sent after the answer to another one gets a higher ticket. The check goes down from the highest ticket:
    no request may have its first try after the earliest answer seen so far."""
    for coupon, answers in told.accepted.items():
        wrong, earliest = [], None
        for answer in sorted(answers.values(), key=lambda answer: -answer.ticket):
            if earliest is not None and earliest.answered < answer.first_sent:
                wrong.append((answer.ticket, earliest.ticket))
            if earliest is None or answer.answered < earliest.answered:
                earliest = answer
        yield from some(wrong, f"tickets of coupon {coupon} were requested after the answer with a higher ticket "
                               "(ticket, the higher one)")


def topic_is_complete(name, events, ledger):
    """events: partition, offset, coupon, user, ticket, in the order of each partition. Each ticket occurs at least
    once, and the first copies are in the order of tickets. A later copy has the same user and ticket, and therefore the
    same event id."""
    last, users, n_again, wrong, strange = defaultdict(int), defaultdict(dict), 0, [], []
    partition_of, moved = {}, []
    for partition, offset, coupon, user, ticket in events:
        if ledger[coupon].get(user, (None,))[0] != ticket:
            strange.append((partition, offset, coupon, user, ticket))
            continue
        if partition_of.setdefault(coupon, partition) != partition:
            moved.append((coupon, partition))
        if ticket in users[coupon]:
            n_again += 1
            continue
        users[coupon][ticket] = user
        if ticket != last[coupon] + 1:
            wrong.append((coupon, last[coupon], ticket))
        last[coupon] = ticket
    yield from some(strange, f"events of {name} do not match the ledger (partition, offset, coupon, user, ticket)")
    yield from some(moved, f"events of {name} are in another partition than their coupon's first (coupon, partition)")
    yield from some(wrong, f"tickets in {name} do not follow the previous one (coupon, previous, ticket)")
    for coupon, holders in ledger.items():
        missing = [ticket for ticket, _ in holders.values() if ticket not in users[coupon]]
        yield from some(missing, f"tickets of coupon {coupon} are not in {name} (ticket)")


def ranges_do_not_overlap(ranges):
    """No ticket was issued twice. ranges: (coupon, first, last), sorted."""
    before = (None, 0, 0)
    for coupon, first, last in ranges:
        if coupon == before[0] and first <= before[2]:
            yield f"coupon {coupon}: tickets {first} to {last} overlap tickets {before[1]} to {before[2]}"
        before = (coupon, first, last)


def flags_are_true(flags, truth):
    """flags, truth: coupon → (value, version)."""
    for coupon, should in truth.items():
        if flags.get(coupon) != should:
            yield f"coupon {coupon}: the flag in Redis is {flags.get(coupon)}, but should be {should}"
