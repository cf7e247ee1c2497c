/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of bench_load, the check that answers match them, and the counters.
 *
 * Request i is for coupon first_coupon + i % n_coupons and user first_user + i / n_coupons, with the id
 * "RUN-COUPON-USER". The number of a request therefore suffices to check its answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "histogram.h"
#include "load_h2.h"
#include "load_pb.h"

#define CALLS_RUN_MAX      64 /* bytes in the name of a run */
#define CALLS_OUTCOMES_MAX 64
#define CALLS_COUPONS_MAX  1000000
#define CALLS_PATH_PUBLISH "/coupon.v1.CouponService/RequestPublish"
#define CALLS_PATH_ECHO    "/toy.v1.Toy/Echo"

struct calls_outcome {
    char name[HPACK_REASON_SIZE];
    int64_t n;
};

/* The tickets of a coupon that answers have named. */
struct calls_tickets {
    uint64_t *bits;
    size_t n_words;
};

struct calls {
    bool is_echo; /* send the same message each time, which must come back; otherwise the next fields apply */
    int64_t first_coupon, n_coupons, first_user;
    const char *run; /* up to CALLS_RUN_MAX bytes */
    FILE *log;       /* NULL: none; a line per answer: coupon user request_id outcome ticket */

    int64_t n_answers, n_accepted, n_bad;
    int64_t max_ticket, last_us; /* highest ticket; time of the last answer */
    char contradiction[256];     /* the first */
    struct calls_outcome outcomes[CALLS_OUTCOMES_MAX];
    size_t n_outcomes;
    struct histogram all, accepted; /* microseconds */
    struct histogram *lately;       /* all answers since the owner last emptied it; NULL: not wanted */
    struct calls_tickets *tickets;
};

/* PublishStatus.State */
enum { CALLS_ACCEPTED = 1, CALLS_ISSUED = 2, CALLS_REJECTED = 3 };

struct calls_status {
    int64_t coupon_id, user_id, ticket, state;
    struct pb request_id;
};

/* Reads RequestPublishResponse { PublishStatus status = 1; }. Returns false if it is malformed. */
bool calls_read_response(struct pb in, struct calls_status *ret_status);

/* Prepares the counters. The caller has set the fields that describe the requests. */
void calls_init(struct calls *calls);
void calls_deinit(struct calls *calls);

/* Writes request `number`, at most H2_REQUEST_MAX bytes. Returns its size. */
size_t calls_write(const struct calls *calls, int64_t number, uint8_t *out);
void calls_on_message(const struct calls *calls, struct h2_call *call, const uint8_t *message, size_t n);
void calls_on_answer(struct calls *calls, const struct h2_call *call, const struct h2_answer *answer, int64_t now_us);
