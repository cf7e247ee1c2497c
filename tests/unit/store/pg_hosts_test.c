/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg_hosts.h"

#include <criterion/criterion.h>

static struct pg_hosts hosts;

static void tear_down(void) {
    pg_hosts_deinit(&hosts);
}

TestSuite(pg_hosts, .fini = tear_down);

Test(pg_hosts, the_first_host_comes_first_unless_told_otherwise) {
    pg_hosts_init(&hosts, "postgresql://u@a:1,b:2,c:3/db", 0);
    cr_assert_str_eq(hosts.host, "a,b,c");
    cr_assert_str_eq(hosts.port, "1,2,3");
    cr_assert_null(hosts.hostaddr);
}

Test(pg_hosts, any_host_can_come_first_with_its_port_and_address) {
    pg_hosts_init(&hosts, "host=a,b,c hostaddr=10.0.0.1,,10.0.0.3 port=1,2,3", 5);
    cr_assert_str_eq(hosts.host, "c,a,b");
    cr_assert_str_eq(hosts.hostaddr, "10.0.0.3,10.0.0.1,");
    cr_assert_str_eq(hosts.port, "3,1,2");
}

Test(pg_hosts, one_port_for_all_hosts_stays_as_it_is) {
    pg_hosts_init(&hosts, "host=a,b port=6432", 1);
    cr_assert_str_eq(hosts.host, "b,a");
    cr_assert_null(hosts.port);
}

Test(pg_hosts, a_url_with_one_host_or_none_stays_as_it_is) {
    static const char *const urls[] = {"postgresql://u@a:1/db", "dbname=db", "postgresql:///db?host=/run/postgresql",
                                       ""};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        pg_hosts_init(&hosts, urls[i], 1);
        cr_expect_eq(hosts.n, 0);
        cr_expect(!hosts.host && !hosts.hostaddr && !hosts.port, "%s", urls[i]);
        cr_expect_eq(pg_hosts_reached(&hosts, "a", "1"), 0);
    }
}

Test(pg_hosts, the_host_that_was_reached_is_told_by_its_place_in_the_url) {
    pg_hosts_init(&hosts, "postgresql://u@a:1,a:2,b:2/db", 2);
    cr_expect_eq(pg_hosts_reached(&hosts, "a", "1"), 0);
    cr_expect_eq(pg_hosts_reached(&hosts, "a", "2"), 1);
    cr_expect_eq(pg_hosts_reached(&hosts, "b", "2"), 2);
    cr_expect_eq(pg_hosts_reached(&hosts, "elsewhere", "2"), 2);
    cr_expect_eq(pg_hosts_reached(&hosts, NULL, NULL), 2);
}

Test(pg_hosts, hosts_that_have_only_addresses_are_told_by_these) {
    pg_hosts_init(&hosts, "hostaddr=10.0.0.1,10.0.0.2", 1);
    cr_assert_str_eq(hosts.hostaddr, "10.0.0.2,10.0.0.1");
    cr_expect_eq(pg_hosts_reached(&hosts, "10.0.0.1", "5432"), 0);
    cr_expect_eq(pg_hosts_reached(&hosts, "10.0.0.2", "5432"), 1);
}
