/* SPDX-License-Identifier: Apache-2.0 */
/* Recognizes a pooler, such as PgBouncer, that lends one session of Postgres to several clients ("transaction" or
 * "statement" mode). couponsd keeps locks, settings and prepared statements in its sessions, so it needs a session
 * of its own for each connection ("session" mode). Blocks for the round trips. Any thread. */
#pragma once

#include "store/pg.h"

/* Fails with ERR_INVALID if connections with these options share a session of Postgres, or change it. Fails otherwise
 * if Postgres can't be reached. */
bool pooler_check(const struct pg_options *options, struct err *err);
