/* SPDX-License-Identifier: Apache-2.0 */
/* Set-up and tear-down for tests that use one arena and one connection to the wire, and what they check alike. */
#pragma once

#include "model/coupon.h"
#include "wire.h"

extern struct arena arena;
extern struct wire *wire;
extern struct pg *pg; /* a connection to `wire` */

/* For TestSuite's .init and .fini. */
void wire_set_up(void);
void wire_tear_down(void);

/* Returns n empty rows, in the arena. */
struct pg_args *new_rows(size_t n);
/* Adds the columns of coupon_row_read to a row: all but the first one. */
void add_coupon_columns(struct pg_args *row, const struct coupon *coupon);
void expect_coupon(const struct coupon *coupon, const struct coupon *expected);

/* Checks that the last statement with this text has these parameters: types, nulls and bytes. */
void expect_args(const char *text, const struct pg_args *expected);

/* Lets the statements with these texts (up to a NULL) fail one after another, and checks that `call` then returns false
 * with the server's error, and that it leaves no transaction open. Then lets the connection end at the same statements.
 * The statements may be in a transaction. */
void expect_failures(const char *const *texts, bool (*call)(struct err *err));
