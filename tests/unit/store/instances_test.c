/* SPDX-License-Identifier: Apache-2.0 */
#include "store/instances.h"

#include <criterion/criterion.h>

#include "wire_fixture.h"

#define TELL   "insert into instance"
#define OLD    "delete from instance where seen_time"
#define LIST   "from instance"
#define FORGET "delete from instance where id = $1"

TestSuite(instances, .init = wire_set_up, .fini = wire_tear_down);

static const struct instance self = {
    .id = "a/1/2", .host = "a", .grpc_address = "127.0.0.1:1", .http_address = "127.0.0.1:2", .version = "0.1.0"};

Test(instances, a_process_tells_that_it_runs_and_old_ones_are_forgotten) {
    struct pg_args expected = {0};
    struct err err = {0};
    cr_assert(instances_tell(pg, &self, &err), "%s", err.text);
    pg_arg_text(&expected, "a/1/2");
    pg_arg_text(&expected, "a");
    pg_arg_text(&expected, "127.0.0.1:1");
    pg_arg_text(&expected, "127.0.0.1:2");
    pg_arg_text(&expected, "0.1.0");
    expect_args(TELL, &expected);
    cr_expect_eq(wire_count(wire, OLD), 1);
}

Test(instances, the_list_has_what_they_told) {
    struct instance found[2];
    struct instance_page page = {.room = 2, .instances = found, .n = 9};
    struct pg_args *row = new_rows(1), expected = {0};
    struct err err = {0};
    pg_arg_text(row, "b/3/4");
    pg_arg_text(row, "b");
    pg_arg_text(row, "10.0.0.1:1");
    pg_arg_text(row, "10.0.0.1:2");
    pg_arg_text(row, "0.2.0");
    pg_arg_time(row, &arena, 1000);
    pg_arg_time(row, &arena, 2000);
    pg_arg_time(row, &arena, 3000);
    wire_answer(wire, LIST, row, 1);
    cr_assert(instances_list(pg, &arena, &page, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, 2);
    expect_args(LIST, &expected);
    cr_assert_eq(page.n, 1);
    cr_expect_eq(page.now_us, 3000);
    cr_expect_str_eq(found[0].id, "b/3/4");
    cr_expect_str_eq(found[0].host, "b");
    cr_expect_str_eq(found[0].grpc_address, "10.0.0.1:1");
    cr_expect_str_eq(found[0].http_address, "10.0.0.1:2");
    cr_expect_str_eq(found[0].version, "0.2.0");
    cr_expect_eq(found[0].start_us, 1000);
    cr_expect_eq(found[0].seen_us, 2000);
}

Test(instances, a_process_that_ends_in_order_is_forgotten) {
    struct pg_args expected = {0};
    struct err err = {0};
    cr_assert(instances_forget(pg, "a/1/2", &err), "%s", err.text);
    pg_arg_text(&expected, "a/1/2");
    expect_args(FORGET, &expected);
}

static bool tell_again(struct err *err) {
    return instances_tell(pg, &self, err);
}

static bool list_again(struct err *err) {
    struct instance found[1];
    struct instance_page page = {.room = 1, .instances = found};
    return instances_list(pg, &arena, &page, err);
}

static bool forget_again(struct err *err) {
    return instances_forget(pg, "a/1/2", err);
}

Test(instances, failures_are_errors) {
    expect_failures((const char *const[]){TELL, OLD, NULL}, tell_again);
    expect_failures((const char *const[]){LIST " order", NULL}, list_again);
    expect_failures((const char *const[]){FORGET, NULL}, forget_again);
}
