/* SPDX-License-Identifier: Apache-2.0 */
/* Prepared statements with binary values, for bench_bare_rows. The caller fills each value or array in place, and a
 * transaction takes one round trip. There is one connection. Any failure ends the program. */
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
#define BARE_STATEMENTS 4 /* maximum per transaction */

/* A parameter: a single value or an array. */
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
/* Empties the parameter. For an array, starts one of `n` items, which the caller adds next. */
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
/* Prepares up to BARE_STATEMENTS statements; NULL ends the list. After this, only transactions may follow. */
void bare_prepare(const struct statement *const *statements);
/* Runs one transaction in one round trip. */
void bare_write(const struct statement *const *statements);
void bare_disconnect(void);
