/* SPDX-License-Identifier: Apache-2.0 */
/* The far end of a connection to Postgres, in this process: it speaks the wire protocol, knows no SQL, and says what the
 * test has told it. So the store is tested through libpq down to the bytes of its parameters.
 *
 *   "fail STATE"   within a statement: the answer is an error of that SQLSTATE, "it is so", with a detail "see there"
 *   wire_answer    rows for each statement that has a text
 *   else           a statement succeeds, and has no rows
 *
 * Rows are struct pg_args, one value a column, so that a test packs them as the store does its parameters. */
#pragma once

#include "store/pg.h"

struct wire;

struct wire *wire_new(void);
/* Call pg_free first: this waits for the client to go. */
void wire_free(struct wire *wire);
const char *wire_url(const struct wire *wire);
/* A connection to it. */
struct pg *wire_pg(struct wire *wire);
/* From now on statements that have `text` return these rows, which must outlive the wire. A later answer to the same
 * statement takes the place of an earlier one. */
void wire_answer(struct wire *wire, const char *text, const struct pg_args *rows, int n);

/* A statement as it came, with its parameters. */
struct wire_statement {
    char sql[2000];
    struct pg_args args; /* without types */
};
/* How many statements with this text came. */
int wire_count(struct wire *wire, const char *text);
/* The last one with this text; fails the test where there is none. Valid until the wire is freed. */
const struct wire_statement *wire_last(struct wire *wire, const char *text);

/* The elements of parameter `arg` (0: the first), an array of int8 or int4; returns how many there are. */
size_t wire_int8s(const struct wire_statement *statement, int arg, int64_t *values, size_t room);
/* Of an array of bytea or text; they point into the statement. */
size_t wire_bytes(const struct wire_statement *statement, int arg, struct pg_bytes *values, size_t room);

/* A result as libpq would have it, of n rows; to be freed by PQclear. */
PGresult *rows_result(const struct pg_args *rows, int n);
