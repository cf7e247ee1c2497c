/* SPDX-License-Identifier: Apache-2.0 */
/* The database's schema: numbered migrations (migrations/NNNN_….sql), applied in order, each in a transaction, under a
 * lock that other couponsd wait for, and recorded in schema_migration. */
#pragma once

#include "store/pg.h"

/* `oldest`: a couponsd that knows the migrations up to this one goes on working beside, and after, this migration. The
 * file says it by a line `-- oldest: NNNN`; one that does not is for no older couponsd. */
struct migration {
    int version, oldest;
    const char *name;
    const char *locks; /* tables, with commas between; NULL: none before its first statement */
    const char *sql;
};
extern const struct migration migrations[];
extern const int n_migrations;

/* Brings the first schema of the search path up to date. A database that a newer couponsd has migrated further is fine
 * as long as its migrations say so; else it is refused.
 *
 * A migration that can't have a table's lock at once lets those pass who wait behind it, and fails with a retriable
 * error. */
bool schema_migrate(struct pg *pg, struct err *err);

/* Records the number of lanes at the first start; afterwards checks that it is the same, since a coupon's lane must not
 * change while its rows are in an outbox. Makes the rows of outbox heads and cursors that each lane needs. */
bool schema_fix_lanes(struct pg *pg, int lanes, struct err *err);
