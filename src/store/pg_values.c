/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and results in Postgres's binary formats; see pg.h. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "store/pg.h"

/* Oids of built-in types, which never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
};

/* Postgres counts time from 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)

/* --- parameters --- */

static void add_arg(struct pg_args *args, Oid type, const void *value, size_t len) {
    if (args->n == PG_MAX_ARGS)
        abort(); /* a defect: PG_MAX_ARGS is too small for a statement */
    args->types[args->n] = type;
    args->values[args->n] = value;
    args->lengths[args->n] = (int)len;
    args->n++;
}

static char *put32(char *at, uint32_t value) {
    value = htobe32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put64(char *at, uint64_t value) {
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

void pg_arg_int2(struct pg_args *args, struct arena *arena, int16_t value) {
    uint16_t *at = arena_alloc(arena, sizeof *at);
    *at = htobe16((uint16_t)value);
    add_arg(args, OID_INT2, at, sizeof *at);
}

void pg_arg_int4(struct pg_args *args, struct arena *arena, int32_t value) {
    char *at = arena_alloc(arena, 4);
    put32(at, (uint32_t)value);
    add_arg(args, OID_INT4, at, 4);
}

void pg_arg_int8(struct pg_args *args, struct arena *arena, int64_t value) {
    char *at = arena_alloc(arena, 8);
    put64(at, (uint64_t)value);
    add_arg(args, OID_INT8, at, 8);
}

void pg_arg_bool(struct pg_args *args, struct arena *arena, bool value) {
    char *at = arena_alloc(arena, 1);
    *at = value;
    add_arg(args, OID_BOOL, at, 1);
}

void pg_arg_float8(struct pg_args *args, struct arena *arena, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    char *at = arena_alloc(arena, 8);
    put64(at, bits);
    add_arg(args, OID_FLOAT8, at, 8);
}

void pg_arg_text(struct pg_args *args, const char *value) {
    add_arg(args, OID_TEXT, value, value ? strlen(value) : 0);
}

static bool time_is_null(int64_t wall_us) {
    return wall_us == INT64_MIN || wall_us == INT64_MAX;
}

void pg_arg_time(struct pg_args *args, struct arena *arena, int64_t wall_us) {
    if (time_is_null(wall_us)) {
        add_arg(args, OID_TIMESTAMPTZ, NULL, 0);
        return;
    }
    char *at = arena_alloc(arena, 8);
    put64(at, (uint64_t)(wall_us - PG_EPOCH_US));
    add_arg(args, OID_TIMESTAMPTZ, at, 8);
}

#define ARRAY_HEADER 20 /* bytes: dimensions, has-nulls, element type, length, lower bound (4 each) */

static char *put_array_header(char *at, Oid element, size_t n) {
    at = put32(at, 1);
    at = put32(at, 1); /* elements may be null */
    at = put32(at, element);
    at = put32(at, (uint32_t)n);
    return put32(at, 1);
}

void pg_arg_int4s(struct pg_args *args, struct arena *arena, const int32_t *values, size_t n) {
    size_t size = ARRAY_HEADER + n * 8;
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_INT4, n);
    for (size_t i = 0; i < n; i++)
        at = put32(put32(at, 4), (uint32_t)values[i]);
    add_arg(args, OID_INT4_ARRAY, array, size);
}

void pg_arg_int8s(struct pg_args *args, struct arena *arena, const int64_t *values, size_t n) {
    size_t size = ARRAY_HEADER + n * 12;
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_INT8, n);
    for (size_t i = 0; i < n; i++)
        at = put64(put32(at, 8), (uint64_t)values[i]);
    add_arg(args, OID_INT8_ARRAY, array, size);
}

static char *put_bytes(char *at, const void *data, size_t len) {
    if (!data)
        return put32(at, UINT32_MAX); /* a length of -1 is null */
    at = put32(at, (uint32_t)len);
    memcpy(at, data, len);
    return at + len;
}

void pg_arg_texts(struct pg_args *args, struct arena *arena, const char *const *values, size_t n) {
    size_t size = ARRAY_HEADER;
    for (size_t i = 0; i < n; i++)
        size += 4 + (values[i] ? strlen(values[i]) : 0);
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_TEXT, n);
    for (size_t i = 0; i < n; i++)
        at = put_bytes(at, values[i], values[i] ? strlen(values[i]) : 0);
    add_arg(args, OID_TEXT_ARRAY, array, size);
}

void pg_arg_byteas(struct pg_args *args, struct arena *arena, const struct pg_bytes *values, size_t n) {
    size_t size = ARRAY_HEADER;
    for (size_t i = 0; i < n; i++)
        size += 4 + (values[i].data ? values[i].len : 0);
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_BYTEA, n);
    for (size_t i = 0; i < n; i++)
        at = put_bytes(at, values[i].data, values[i].len);
    add_arg(args, OID_BYTEA_ARRAY, array, size);
}

/* --- results --- */

int64_t pg_int8(const PGresult *result, int row, int column) {
    uint64_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int64_t)be64toh(bits);
}

int32_t pg_int4(const PGresult *result, int row, int column) {
    uint32_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int32_t)be32toh(bits);
}

int16_t pg_int2(const PGresult *result, int row, int column) {
    uint16_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int16_t)be16toh(bits);
}

bool pg_bool(const PGresult *result, int row, int column) {
    return *PQgetvalue(result, row, column) != 0;
}

double pg_float8(const PGresult *result, int row, int column) {
    uint64_t bits = (uint64_t)pg_int8(result, row, column);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t pg_time(const PGresult *result, int row, int column, int64_t if_null) {
    if (PQgetisnull(result, row, column))
        return if_null;
    int64_t us = pg_int8(result, row, column);
    if (us == INT64_MIN) /* -infinity */
        return us;
    return us > INT64_MAX - PG_EPOCH_US ? INT64_MAX : us + PG_EPOCH_US;
}
