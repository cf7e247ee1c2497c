/* SPDX-License-Identifier: Apache-2.0 */
/* The decision of step 5, issue: whether a ticket is issued or rejected. No I/O; all functions are pure. The
 * decision uses the rows of Postgres rather than the event's claims. Redelivered, replayed and forged events
 * therefore change nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/coupon.h"

/* An event's claims, and the facts from Postgres. */
struct issuance_event {
    /* from the event */
    int64_t coupon_id, user_id, ticket;
    /* from the ledger's row of this ticket */
    int64_t ledger_user_id; /* 0: no such row */
    int64_t accept_us;
    const char *request_id; /* lives in the arena */
    size_t request_id_len;
    bool is_decided; /* the ticket is already issued or rejected */
};

struct issue_answer {
    enum {
        ISSUE_ISSUED,
        ISSUE_DUPLICATE, /* already decided: nothing to do */
        ISSUE_REJECTED,
        ISSUE_DEAD, /* no correct program sends such an event: becomes a dead letter */
    } verdict;
    enum reject_reason reject_reason;
    const char *dead_reason; /* a string literal */
};

/* Whether a ticket was decided before, according to the coupon's counters. */
enum issue_before {
    ISSUE_NEVER,  /* not decided: the ticket is above all decided ones */
    ISSUE_BEFORE, /* decided: all tickets up to the highest are */
    ISSUE_UNSURE, /* unknown: some tickets below the highest are undecided; look it up */
};
enum issue_before issue_before(const struct coupon *coupon, int64_t ticket);

/* Decides the events in order. `coupon_of[i]` is the index of event i's coupon. Raises coupons[].issued, .rejected
 * and .highest. A ticket that occurs twice in the batch is decided once. */
void issue_decide(struct arena *arena, struct coupon *coupons, const struct issuance_event *events,
                  const size_t *coupon_of, size_t n_events, struct issue_answer *ret_answers);
