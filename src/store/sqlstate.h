/* SPDX-License-Identifier: Apache-2.0 */
/* What Postgres's error codes (SQLSTATEs) mean for couponsd: whether an error is transient, and what it blames. One
 * table decides for all of them; docs/reference/sqlstates.md shows it. Nothing here looks at the text of an error,
 * which Postgres translates (lc_messages). Pure: any thread. */
#pragma once

enum sqlstate_kind {
    SQLSTATE_PERMANENT, /* a repeat fails too; a row of the statement may be at fault */
    SQLSTATE_SCHEMA,    /* the same, but no row is at fault: tables or functions are not what the statements expect */
    SQLSTATE_FORBIDDEN, /* the role lacks a privilege */
    SQLSTATE_TRANSIENT, /* a repeat may succeed */
    SQLSTATE_SESSION,   /* a repeat may succeed, but only on another connection */
};

/* `state` has five characters. A state that Postgres does not have is SQLSTATE_PERMANENT. */
enum sqlstate_kind sqlstate_kind(const char *state);
