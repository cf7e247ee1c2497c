/* What becomes of a ticket: the decision of step 5, without I/O. It believes the rows, not the event, so that
 * redelivery, replay and forgery change nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/coupon.h"

/* What an event says, and what Postgres says of it. */
struct issuance_event {
    /* as the event has them */
    int64_t coupon_id, user_id, ticket;
    /* the ledger's row of this ticket */
    int64_t ledger_user_id; /* 0: there is none */
    int64_t accept_us;
    const char *request_id; /* in the arena */
    size_t request_id_len;
    bool is_decided; /* the ticket was issued or rejected before */
};

struct issue_answer {
    enum {
        ISSUE_ISSUED,
        ISSUE_DUPLICATE, /* decided before: nothing to do */
        ISSUE_REJECTED,
        ISSUE_DEAD, /* breaks a rule that no right program breaks: kept for people */
    } verdict;
    enum reject_reason reject_reason;
    const char *dead_reason; /* a literal */
};

/* What a coupon's counters say of a ticket. */
enum issue_before {
    ISSUE_NEVER,  /* it was not decided before: it is above all that were */
    ISSUE_BEFORE, /* it was: all up to the highest were */
    ISSUE_UNSURE, /* some below the highest were not, so it has to be looked up */
};
enum issue_before issue_before(const struct coupon *coupon, int64_t ticket);

/* `coupon_of[i]`: index of event i's coupon. Raises coupons[].issued, .rejected and .highest. */
void issue_decide(struct arena *arena, struct coupon *coupons, const struct issuance_event *events,
                  const size_t *coupon_of, size_t n_events, struct issue_answer *ret_answers);
