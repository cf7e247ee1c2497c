/* SPDX-License-Identifier: Apache-2.0 */
/* Statements that are prepared once and sent with binary values, for bench_bare_rows: a value or array is filled in
 * place, and a transaction takes one round trip. One connection; where something fails the program ends. */
#pragma once

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

/* Oids of built-in types; they never change. */
enum {
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
};

#define BARE_PARAMS_MAX 6
#define BARE_STATEMENTS 4 /* of a transaction, at most */

/* A value that is sent: an array's, or a single one's. */
struct param {
    Oid type;
    char *data, *at;
};

struct statement {
    const char *name, *sql;
    int n;
    struct param *params[BARE_PARAMS_MAX];
};

void param_init(struct param *param, Oid type, size_t room);
/* Empties it. An array of `n`: the items follow. */
void param_restart(struct param *param, size_t n);
void put16(struct param *param, uint16_t value);
void put32(struct param *param, uint32_t value);
void put64(struct param *param, int64_t value);
void put_bytes(struct param *param, const void *data, size_t len);
void put_item(struct param *param, const void *data, size_t len);
void put_item_int4(struct param *param, int32_t value);
void put_item_int8(struct param *param, int64_t value);

void bare_connect(const char *url);
void bare_run(const char *sql);
/* Up to BARE_STATEMENTS, then NULL. From then on only transactions. */
void bare_prepare(const struct statement *const *statements);
/* One transaction, in one round trip. */
void bare_write(const struct statement *const *statements);
void bare_disconnect(void);
