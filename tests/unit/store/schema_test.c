/* SPDX-License-Identifier: Apache-2.0 */
#include "store/schema.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "wire_fixture.h"

TestSuite(schema, .init = wire_set_up, .fini = wire_tear_down);

/* Sets Postgres's answer to statements with this text: one number. */
static void say(const char *text, int64_t number) {
    struct pg_args *row = arena_zalloc(&arena, sizeof *row);
    pg_arg_int8(row, &arena, number);
    wire_answer(wire, text, row, 1);
}

#define NEWEST "from schema_migration order by version desc"
#define OLDEST "select value::bigint from setting where key = 'schema.oldest.'"
#define LANES  "select value::bigint from setting where key = 'flow.lanes'"

Test(schema, migrations_are_numbered_from_1_without_gaps) {
    cr_assert_gt(n_migrations, 0);
    for (int i = 0; i < n_migrations; i++) {
        cr_expect_eq(migrations[i].version, i + 1);
        cr_expect_gt(strlen(migrations[i].sql), 10);
        cr_expect_gt(strlen(migrations[i].name), 0);
        for (const char *at = migrations[i].name; *at; at++)
            cr_expect(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_', "%s",
                      migrations[i].name);
    }
}

Test(schema, a_migration_declares_an_oldest_version_that_is_not_newer_than_itself) {
    for (int i = 0; i < n_migrations; i++) {
        cr_expect_geq(migrations[i].oldest, 1);
        cr_expect_leq(migrations[i].oldest, migrations[i].version);
        cr_expect_eq(strstr(migrations[i].sql, "-- oldest:") != NULL, migrations[i].oldest < migrations[i].version,
                     "%s", migrations[i].name);
    }
}

Test(schema, what_a_migration_locks_is_what_its_file_declares) {
    for (int i = 0; i < n_migrations; i++) {
        const char *line = strstr(migrations[i].sql, "-- locks: ");
        cr_assert_eq(line != NULL, migrations[i].locks != NULL, "%s", migrations[i].name);
        if (line)
            cr_expect_eq(strncmp(line + 10, migrations[i].locks, strlen(migrations[i].locks)), 0, "%s",
                         migrations[i].locks);
    }
}

Test(schema, an_empty_database_gets_every_migration_in_a_transaction_of_its_own) {
    struct err err = {0};
    cr_assert(schema_migrate(pg, &err), "%s", err.text);
    cr_assert_eq(wire_count(wire, "insert into schema_migration"), n_migrations);
    cr_assert_eq(wire_count(wire, "begin; set local lock_timeout"), n_migrations);
    cr_assert_eq(wire_count(wire, "rollback"), 0);
    cr_assert_eq(wire_count(wire, "pg_advisory_lock"), 1);
    cr_assert_eq(wire_count(wire, "pg_advisory_unlock"), 1);
}

Test(schema, a_database_that_is_up_to_date_is_left_alone) {
    struct err err = {0};
    say(NEWEST, migrations[n_migrations - 1].version);
    cr_assert(schema_migrate(pg, &err), "%s", err.text);
    cr_assert_eq(wire_count(wire, "insert into schema_migration"), 0);
}

Test(schema, a_newer_database_is_fine_as_long_as_its_migrations_say_so) {
    struct err err = {0};
    int known = migrations[n_migrations - 1].version;
    say(NEWEST, known + 2);
    say(OLDEST, known);
    cr_assert(schema_migrate(pg, &err), "%s", err.text);
    cr_assert_eq(wire_count(wire, "insert into schema_migration"), 0);
    say(OLDEST, known + 1);
    cr_assert_not(schema_migrate(pg, &err));
    cr_assert_eq(err.code, ERR_INVALID);
    cr_assert_not_null(strstr(err.text, "start a newer couponsd"), "%s", err.text);
    cr_assert_eq(wire_count(wire, "pg_advisory_unlock"), 2, "the lock is given back after a refusal, too");
}

Test(schema, a_newer_database_that_says_nothing_of_older_programs_is_refused) {
    struct err err = {0};
    say(NEWEST, migrations[n_migrations - 1].version + 1);
    cr_assert_not(schema_migrate(pg, &err));
    cr_assert_eq(err.code, ERR_INVALID);
}

Test(schema, another_number_of_lanes_than_at_the_first_start_is_refused) {
    struct err err = {0};
    say(LANES, 64);
    cr_assert(schema_fix_lanes(pg, 64, &err), "%s", err.text);
    cr_assert_not(schema_fix_lanes(pg, 32, &err));
    cr_assert_eq(err.code, ERR_INVALID);
    cr_assert_not_null(strstr(err.text, "set flow.lanes = 64"), "%s", err.text);
}
