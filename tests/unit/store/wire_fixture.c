/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

struct arena arena;
struct wire *wire;
struct pg *pg;

void wire_set_up(void) {
    arena_init(&arena, 4096);
    wire = wire_new();
    pg = wire_pg(wire);
}

void wire_tear_down(void) {
    pg_free(pg);
    wire_free(wire);
    arena_deinit(&arena);
}

struct pg_args *new_rows(size_t n) {
    return arena_zalloc(&arena, n * sizeof(struct pg_args));
}

void add_coupon_columns(struct pg_args *row, const struct coupon *coupon) {
    pg_arg_int2(row, &arena, (int16_t)coupon->status);
    pg_arg_bool(row, &arena, coupon->frozen);
    pg_arg_time(row, &arena, coupon->open_us);
    pg_arg_time(row, &arena, coupon->expire_us);
    pg_arg_int8(row, &arena, coupon->version);
    pg_arg_int8(row, &arena, coupon->quantity);
    pg_arg_int8(row, &arena, coupon->accepted);
    pg_arg_int8(row, &arena, coupon->issued);
    pg_arg_int8(row, &arena, coupon->rejected);
    pg_arg_int8(row, &arena, coupon->highest);
}

void expect_coupon(const struct coupon *coupon, const struct coupon *expected) {
    cr_expect_eq(coupon->id, expected->id);
    cr_expect_eq(coupon->exists, expected->exists);
    cr_expect_eq(coupon->frozen, expected->frozen);
    cr_expect_eq(coupon->status, expected->status);
    cr_expect_eq(coupon->quantity, expected->quantity);
    cr_expect_eq(coupon->accepted, expected->accepted);
    cr_expect_eq(coupon->issued, expected->issued);
    cr_expect_eq(coupon->rejected, expected->rejected);
    cr_expect_eq(coupon->highest, expected->highest);
    cr_expect_eq(coupon->open_us, expected->open_us);
    cr_expect_eq(coupon->expire_us, expected->expire_us);
    cr_expect_eq(coupon->version, expected->version);
}

void expect_args(const char *text, const struct pg_args *expected) {
    const struct pg_args *args = &wire_last(wire, text)->args;
    cr_assert_eq(args->n, expected->n, "%s: %d parameters", text, args->n);
    for (int i = 0; i < args->n; i++) {
        cr_expect_eq(args->types[i], expected->types[i], "%s: parameter %d has type %u", text, i, args->types[i]);
        cr_assert_eq(!args->values[i], !expected->values[i], "%s: parameter %d", text, i);
        if (!args->values[i])
            continue;
        cr_assert_eq(args->lengths[i], expected->lengths[i], "%s: parameter %d has %d bytes", text, i,
                     args->lengths[i]);
        cr_expect_eq(memcmp(args->values[i], expected->values[i], (size_t)args->lengths[i]), 0, "%s: parameter %d",
                     text, i);
    }
}

static void expect_failure(const char *text, bool (*call)(struct err *err)) {
    struct err err = {0};
    int before = wire_count(wire, text);
    wire_fail(wire, text, "23514");
    cr_expect_not(call(&err), "%s", text);
    cr_expect_eq(wire_count(wire, text), before + 1, "%s: it is not tried again", text);
    cr_expect_eq(err.code, ERR_REFUSED, "%s: %s", text, err.text);
    cr_expect_eq(err.backend, BACKEND_POSTGRES);
    cr_expect_str_eq(err.sqlstate, "23514", "%s", text);
    cr_expect_str_eq(err.text, "it is so: see there", "%s", text);
    cr_expect(pg_is_connected(pg), "%s: an error costs no connection", text);
    cr_expect_not(wire_in_transaction(wire), "%s: rolled back", text);
}

static void expect_end(const char *text, bool (*call)(struct err *err)) {
    struct err err = {0};
    wire_fail(wire, text, "");
    cr_expect_not(call(&err), "%s", text);
    cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s: %s", text, err.text);
    cr_expect(err.retriable);
    cr_expect_not(pg_is_connected(pg), "%s", text);
    wire_fail(wire, NULL, NULL);
    cr_assert(pg_connect(pg, &err), "%s", err.text);
}

void expect_failures(const char *const *texts, bool (*call)(struct err *err)) {
    for (; *texts; texts++) {
        expect_failure(*texts, call);
        expect_end(*texts, call);
    }
    struct err err = {0};
    cr_expect(call(&err), "nothing fails any more: %s", err.text);
}
