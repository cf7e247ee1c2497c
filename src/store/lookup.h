/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the states of requests, and users' coupons. Takes no locks. Any hot connection. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* Reads the states of n requests, whose coupon_id and user_id are set. Strings live in the arena. */
bool lookup_statuses(struct pg *pg, struct arena *arena, struct request_status *statuses, size_t n, struct err *err);

/* Reads the state of the ticket whose coupon_id and ticket are set. `found` is false if the ledger has no such ticket.
 * Strings live in the arena. */
bool lookup_ticket(struct pg *pg, struct arena *arena, struct request_status *status, struct err *err);

struct ledger_page {
    int64_t coupon_id; /* in */
    int64_t after;     /* in: users with higher tickets are read; out: the highest ticket read, if any */
    size_t room;       /* in: the number of elements of `users` */
    int64_t *users;    /* filled, in the order of tickets */
    size_t n;          /* out: the number of users filled */
};
/* Reads users in a coupon's ledger. */
bool lookup_ledger_users(struct pg *pg, struct arena *arena, struct ledger_page *page, struct err *err);

struct ticket_page {
    int64_t coupon_id;               /* in */
    int64_t after;                   /* in: higher tickets are read; or, with `newest`, lower ones (0: all) */
    bool newest;                     /* in: the highest ticket comes first */
    size_t room;                     /* in: the number of elements of `statuses` */
    struct request_status *statuses; /* filled, in the order of tickets; strings live in the arena */
    size_t n;                        /* out: the number of statuses filled */
};
/* Reads tickets of a coupon, with their users and what became of them. */
bool lookup_tickets(struct pg *pg, struct arena *arena, struct ticket_page *page, struct err *err);

struct user_coupon_page {
    int64_t user_id, after; /* in: the user's coupons with an id above `after` are read */
    size_t room;            /* in: the number of elements of `statuses` */
    /* coupon_id, user_id, found, ticket and issue_us are filled, in the order of coupons */
    struct request_status *statuses;
    size_t n; /* out: the number of statuses filled */
};
/* Reads the coupons that were issued to users: n pages, at most LOOKUP_PAGES_MAX, in one round trip. */
#define LOOKUP_PAGES_MAX 32
bool lookup_user_coupons(struct pg *pg, struct arena *arena, struct user_coupon_page *pages, size_t n, struct err *err);
