/* The database's schema: numbered migrations (migrations/NNNN_….sql), applied in order, each in a transaction, under a
 * lock that other couponsd wait for, and recorded in schema_migration. */
#pragma once

#include "store/pg.h"

struct migration {
    int version;
    const char *name, *sql;
};
extern const struct migration migrations[];
extern const int n_migrations;

/* Brings the first schema of the search path up to date. Refuses a database that a newer couponsd has migrated further.
 */
bool schema_migrate(struct pg *pg, struct err *err);

/* Records the number of lanes at the first start; afterwards checks that it is the same, since a coupon's lane must not
 * change while its rows are in an outbox. Makes the rows of outbox heads and cursors that each lane needs. */
bool schema_fix_lanes(struct pg *pg, int lanes, struct err *err);
