/* SPDX-License-Identifier: Apache-2.0 */
/* Values in Postgres' binary format, and transactions in pipeline mode; see bare_pg.h. */
#include "bare_pg.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static PGconn *conn;

/* --- values --- */

void put16(struct param *param, uint16_t value) {
    value = htobe16(value);
    memcpy(param->at, &value, sizeof value);
    param->at += sizeof value;
}

void put32(struct param *param, uint32_t value) {
    value = htobe32(value);
    memcpy(param->at, &value, sizeof value);
    param->at += sizeof value;
}

void put64(struct param *param, int64_t value) {
    uint64_t bits = htobe64((uint64_t)value);
    memcpy(param->at, &bits, sizeof bits);
    param->at += sizeof bits;
}

void put_bytes(struct param *param, const void *data, size_t len) {
    memcpy(param->at, data, len);
    param->at += len;
}

void put_item(struct param *param, const void *data, size_t len) {
    put32(param, (uint32_t)len);
    put_bytes(param, data, len);
}

void put_item_int4(struct param *param, int32_t value) {
    put32(param, 4);
    put32(param, (uint32_t)value);
}

void put_item_int8(struct param *param, int64_t value) {
    put32(param, 8);
    put64(param, value);
}

static Oid element_of(Oid type) {
    switch (type) {
    case OID_INT4_ARRAY:
        return OID_INT4;
    case OID_INT8_ARRAY:
        return OID_INT8;
    case OID_TEXT_ARRAY:
        return OID_TEXT;
    case OID_BYTEA_ARRAY:
        return OID_BYTEA;
    default:
        return 0;
    }
}

void param_restart(struct param *param, size_t n) {
    Oid element = element_of(param->type);
    param->at = param->data;
    if (element) {
        put32(param, n ? 1 : 0); /* dimensions */
        put32(param, 0);         /* no nulls */
        put32(param, element);
        if (n) {
            put32(param, (uint32_t)n);
            put32(param, 1); /* the first index */
        }
    }
}

void param_init(struct param *param, Oid type, size_t room) {
    param->type = type;
    param->at = param->data = memory_new(room, 1);
}

/* --- statements --- */

static void fail(const char *what, const char *why) {
    fprintf(stderr, "bench_bare_rows: %s: %s\n", what, why);
    exit(1);
}

static void check(const PGresult *result, ExecStatusType should, const char *what) {
    if (PQresultStatus(result) != should)
        fail(what, result ? PQresultErrorMessage(result) : PQerrorMessage(conn));
}

void bare_run(const char *sql) {
    PGresult *result = PQexec(conn, sql);
    check(result, PGRES_COMMAND_OK, sql);
    PQclear(result);
}

static void prepare(const char *name, const char *sql, const Oid *types, int n) {
    PGresult *result = PQprepare(conn, name, sql, n, types);
    check(result, PGRES_COMMAND_OK, sql);
    PQclear(result);
}

void bare_prepare(const struct statement *const *statements) {
    prepare("begin", "begin", NULL, 0);
    prepare("commit", "commit", NULL, 0);
    for (int i = 0; statements[i]; i++) {
        Oid types[BARE_PARAMS_MAX];
        for (int p = 0; p < statements[i]->n; p++)
            types[p] = statements[i]->params[p]->type;
        prepare(statements[i]->name, statements[i]->sql, types, statements[i]->n);
    }
    if (!PQenterPipelineMode(conn))
        fail("pipeline", PQerrorMessage(conn));
}

static void send(const char *name, struct param *const *params, int n) {
    const char *values[BARE_PARAMS_MAX];
    int lengths[BARE_PARAMS_MAX], binary[BARE_PARAMS_MAX];
    for (int i = 0; i < n; i++) {
        values[i] = params[i]->data;
        lengths[i] = (int)(params[i]->at - params[i]->data);
        binary[i] = 1;
    }
    if (!PQsendQueryPrepared(conn, name, n, values, lengths, binary, 1))
        fail(name, PQerrorMessage(conn));
}

static void collect(const char *what, ExecStatusType should) {
    PGresult *result = PQgetResult(conn);
    check(result, should, what);
    PQclear(result);
    if (should != PGRES_PIPELINE_SYNC)
        PQclear(PQgetResult(conn)); /* NULL, which ends a statement's results */
}

void bare_write(const struct statement *const *statements) {
    int n = 0;
    send("begin", NULL, 0);
    for (; statements[n]; n++)
        send(statements[n]->name, statements[n]->params, statements[n]->n);
    send("commit", NULL, 0);
    if (!PQpipelineSync(conn))
        fail("sync", PQerrorMessage(conn));
    for (int i = 0; i < n + 2; i++)
        collect(i == 0 ? "begin" : i <= n ? statements[i - 1]->name : "commit", PGRES_COMMAND_OK);
    collect("sync", PGRES_PIPELINE_SYNC);
}

void bare_connect(const char *url) {
    conn = PQconnectdb(url);
    if (PQstatus(conn) != CONNECTION_OK)
        fail("connecting", PQerrorMessage(conn));
    /* The same settings as couponsd's hot connections. */
    bare_run(
        "set synchronous_commit = on; set jit = off; set plan_cache_mode = force_generic_plan; set enable_seqscan = "
        "off;"
        "set enable_hashjoin = off; set enable_mergejoin = off; set enable_bitmapscan = off");
}

void bare_disconnect(void) {
    PQfinish(conn);
}
