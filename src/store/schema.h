/* SPDX-License-Identifier: Apache-2.0 */
/* The database's schema: numbered migrations (migrations/NNNN_….sql). Each is applied in order, in a transaction of its
 * own, and recorded in schema_migration. A lock lets one couponsd migrate at a time. */
#pragma once

#include "store/pg.h"

struct migration {
    int version;
    /* The lowest version that a couponsd must know to work with the database during and after this migration. It is
     * declared by a line `-- oldest: NNNN` in the file; without that line it is the migration's own version. */
    int oldest;
    const char *name;
    const char *locks; /* the tables to lock before the first statement, separated by commas; NULL: none */
    const char *sql;
};
extern const struct migration migrations[];
extern const int n_migrations;

/* Brings the first schema of the search path up to date. If a newer couponsd has migrated the database further, fails
 * unless the `oldest` of those migrations admits this couponsd.
 * Also fails if the database's encoding can't store every text.
 *
 * A migration that does not get a table's lock within 200 ms fails with a retriable error, so that the transactions
 * that wait behind it can go on. */
bool schema_migrate(struct pg *pg, struct err *err);

/* Records the number of lanes at the first start. Later starts fail if the number differs, since a coupon's lane must
 * not change while the outbox has its rows. Also creates the heads, cursors and segments that are missing. */
bool schema_fix_lanes(struct pg *pg, int lanes, struct err *err);
