/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlstate.h"

#include <criterion/criterion.h>

static void expect(enum sqlstate_kind kind, const char *const *states, size_t n) {
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(sqlstate_kind(states[i]), kind, "%s is of kind %d", states[i], (int)sqlstate_kind(states[i]));
}
#define EXPECT(kind, ...)                                                                                              \
    do {                                                                                                               \
        static const char *const states[] = {__VA_ARGS__};                                                             \
        expect(kind, states, sizeof states / sizeof states[0]);                                                        \
    } while (0)

Test(sqlstate, what_passes_by_itself_is_passing) {
    EXPECT(SQLSTATE_TRANSIENT, /* each with its name in Postgres's list */
           "0A000",            /* feature_not_supported: "cached plan must not change result type" */
           "40000",            /* transaction_rollback */
           "40001",            /* serialization_failure */
           "40P01",            /* deadlock_detected */
           "53000",            /* insufficient_resources */
           "53100",            /* disk_full */
           "53200",            /* out_of_memory */
           "53300",            /* too_many_connections */
           "54000", "55000",   /* object_not_in_prerequisite_state */
           "55P03",            /* lock_not_available */
           "57000",            /* operator_intervention */
           "57014",            /* query_canceled */
           "57P01",            /* admin_shutdown */
           "57P02",            /* crash_shutdown */
           "57P03",            /* cannot_connect_now */
           "57P04",            /* database_dropped */
           "57P05",            /* idle_session_timeout */
           "58000",            /* system_error */
           "58030",            /* io_error */
           "58P01",            /* undefined_file */
           "72000");           /* snapshot_too_old */
}

Test(sqlstate, what_another_connection_may_mend_ends_the_session) {
    EXPECT(SQLSTATE_SESSION, "08000", "08003", "08006", "08P01", /* connection_exception */
           "25006",                                              /* read_only_sql_transaction */
           "25P03",                                              /* idle_in_transaction_session_timeout */
           "25P04",                                              /* transaction_timeout */
           "26000",                                              /* invalid_sql_statement_name */
           "28000", "28P01", /* invalid_authorization_specification, invalid_password */
           "3D000",          /* invalid_catalog_name */
           "3F000",          /* invalid_schema_name */
           "42P05");         /* duplicate_prepared_statement */
}

Test(sqlstate, errors_that_no_repeat_mends_are_permanent) {
    EXPECT(SQLSTATE_PERMANENT, "22003", "22021", "22P05", "23502", "23503", "23505", "23514", "25001", "25P02", "44000",
           "54001", "55006", "55P02", "55P04", "P0001", "P0004", "XX000", "XX001", "XX002");
}

Test(sqlstate, a_schema_or_a_privilege_blames_no_row) {
    EXPECT(SQLSTATE_SCHEMA, "42601", "42703", "42704", "42883", "42P01", "42P07");
    EXPECT(SQLSTATE_FORBIDDEN, "42501");
}

Test(sqlstate, every_class_of_postgres_is_decided_and_an_unknown_one_is_permanent) {
    EXPECT(SQLSTATE_PERMANENT, "00000", "01000", "02000", "03000", "09000", "0B000", "0F000", "0L000", "0P000", "0Z000",
           "10608", "20000", "21000", "22000", "23000", "24000", "25000", "27000", "2B000", "2D000", "2F000", "34000",
           "38000", "39000", "3B000", "44000", "54001", "55P99", "F0000", "HV000", "P0000", "XX000", "ZZ999", "");
}
