/* SPDX-License-Identifier: Apache-2.0 */
/* A fake Postgres server in the test's process. It speaks the wire protocol, does not understand SQL, and sends the
 * test's answers. So the store is tested through libpq, down to the bytes of its parameters.
 *
 *   a statement with "fail STATE"                 fails with that SQLSTATE, the message "it is so" and the detail "see
 *                                                 there"; so do those that wire_fail names
 *   a statement in a transaction that has failed  fails, unless it ends the transaction
 *   a statement with a text given to wire_answer  returns the rows of wire_answer
 *   any other statement                           succeeds without rows
 *
 * A row is a struct pg_args with one value per column, so that a test packs rows as the store packs parameters.
 * A row that fills all PG_MAX_ARGS values goes on in the next struct pg_args. */
#pragma once

#include "store/pg.h"

struct wire;

struct wire *wire_new(void);
/* Waits until all clients disconnect, so call pg_free first. */
void wire_free(struct wire *wire);
const char *wire_url(const struct wire *wire);
/* Connects to the wire. */
struct pg *wire_pg(struct wire *wire);
/* Sets the rows that statements with `text` return. The rows must outlive the wire. If several texts occur in a
 * statement, the latest answer counts. */
void wire_answer(struct wire *wire, const char *text, const struct pg_args *rows, int n);
/* The same, but the answer counts only once the client has sent a statement with the text `after`. */
void wire_answer_after(struct wire *wire, const char *after, const char *text, const struct pg_args *rows, int n);
/* The same, but a function returns the rows. It runs on a thread of the wire, once for each statement. `connection` is
 * 1 for the first connection of the wire, 2 for the second, and so on. */
struct wire_statement;
typedef const struct pg_args *wire_rows(void *arg, int connection, const struct wire_statement *statement, int *ret_n);
void wire_answer_by(struct wire *wire, const char *text, wire_rows *function, void *arg);
/* From now on, statements with `text` fail with the SQLSTATE `state`; "": the server closes the connection instead.
 * Only the last call counts. `text` may be NULL: no statement fails. */
void wire_fail(struct wire *wire, const char *text, const char *state);

/* A statement that the client has sent, with its parameters. */
struct wire_statement {
    char sql[2000];
    struct pg_args args;
};
/* Returns the number of statements with this text that the client has sent. */
int wire_count(struct wire *wire, const char *text);
/* Returns the last statement with this text, which is valid until the wire is freed. Fails the test if there is
 * none. */
const struct wire_statement *wire_last(struct wire *wire, const char *text);

/* True if a connection is within a transaction. */
bool wire_in_transaction(struct wire *wire);

/* Reads the elements of parameter `arg` (0: the first), an array of int8 or int4. Returns the number of elements. */
size_t wire_int8s(const struct wire_statement *statement, int arg, int64_t *values, size_t room);
/* Does the same for an array of bytea or text. The values point into the statement. */
size_t wire_bytes(const struct wire_statement *statement, int arg, struct pg_bytes *values, size_t room);

/* Makes a result of n rows as libpq would. Free it by PQclear. */
PGresult *rows_result(const struct pg_args *rows, int n);
