/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/kafka_internal.h"

static char path[] = "/tmp/couponsd-secret-XXXXXX";
static const struct property properties[] = {{"sasl.username", "app"}, {"sasl.password", "old"}};
static const struct property files[] = {{"redis.password", "/nonexistent"}, {"kafka.sasl.password", path}};
static const struct kafka_options options = {.properties = properties, .n_properties = 2, .files = files, .n_files = 2};

static void write_text(const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void set_up(void) {
    close(mkstemp(path));
    write_text("now\n");
}

static void tear_down(void) {
    unlink(path);
}

TestSuite(kafka_secrets, .init = set_up, .fini = tear_down);

static void expect_value(const struct property *property, const char *expected) {
    char *value = kafka_value_of(&options, property);
    cr_expect_str_eq(value, expected);
    free(value);
}

Test(kafka_secrets, a_propertys_value_is_what_its_file_has_or_else_what_it_was_at_the_start) {
    expect_value(&properties[0], "app");
    expect_value(&properties[1], "now");
    unlink(path);
    expect_value(&properties[1], "old");
}

Test(kafka_secrets, a_name_and_password_that_do_not_come_from_files_are_never_read_again) {
    struct kafka_options fixed = options;
    struct kafka_secrets secrets;
    fixed.n_files = 1;
    kafka_secrets_init(&secrets, &fixed);
    cr_expect_eq(secrets.due_us, INT64_MAX);
    kafka_secrets_deinit(&secrets);
}

Test(kafka_secrets, a_handle_gets_a_new_password_when_it_is_due_and_not_before) {
    struct kafka_secrets secrets;
    char text[200];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, text, sizeof text);
    cr_assert_not_null(rk, "%s", text);
    kafka_secrets_init(&secrets, &options);
    cr_expect_str_eq(secrets.user, "app");
    cr_expect_str_eq(secrets.password, "now");
    write_text("later\n");
    secrets.due_us = INT64_MAX;
    kafka_secrets_refresh(&secrets, &options, rk);
    cr_expect_str_eq(secrets.password, "now");
    secrets.due_us = 0;
    kafka_secrets_refresh(&secrets, &options, rk);
    cr_expect_str_eq(secrets.user, "app");
    cr_expect_str_eq(secrets.password, "later");
    cr_expect_gt(secrets.due_us, clock_mono_us());
    kafka_secrets_deinit(&secrets);
    rd_kafka_destroy(rk);
}
