/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg_hosts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pg_hosts hosts;

static void set_up(void) {
    static const char *const variables[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
}

static void tear_down(void) {
    pg_hosts_deinit(&hosts);
}

TestSuite(pg_hosts, .init = set_up, .fini = tear_down);

/* Each text is a host's "HOST ADDRESS PORT", with - for what the URL decides. */
static void expect(const char *url, const char *const *texts, int n) {
    char text[100];
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, url, 3);
    cr_assert_eq(hosts.n, n, "%s: %d hosts", url, hosts.n);
    for (int i = 0; i < n; i++) {
        const struct pg_host *host = &hosts.list[i];
        snprintf(text, sizeof text, "%s %s %s", host->host ? host->host : "-", host->hostaddr ? host->hostaddr : "-",
                 host->port ? host->port : "-");
        cr_expect_str_eq(text, texts[i], "%s", url);
    }
}

#define EXPECT(url, ...)                                                                                               \
    expect(url, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

Test(pg_hosts, each_host_has_its_own_port_or_that_of_all) {
    EXPECT("postgresql://u@a:1,b:2,c:3/db", "a - 1", "b - 2", "c - 3");
    EXPECT("host=a,b port=6432", "a - -", "b - -");
    EXPECT("host=a,b", "a - -", "b - -");
    EXPECT("postgresql://a,b:7/db", "a - 5432", "b - 7");
    EXPECT("postgresql://a,b/db", "a - 5432", "b - 5432");
}

Test(pg_hosts, a_host_may_have_a_given_address_or_only_one) {
    EXPECT("host=a,b,c hostaddr=10.0.0.1,,10.0.0.3 port=1,2,3", "a 10.0.0.1 1", "b - 2", "c 10.0.0.3 3");
    EXPECT("hostaddr=10.0.0.1,10.0.0.2", "- 10.0.0.1 -", "- 10.0.0.2 -");
    EXPECT("host=a, hostaddr=10.0.0.1,10.0.0.2", "a 10.0.0.1 -", "10.0.0.2 10.0.0.2 -");
}

Test(pg_hosts, one_host_is_a_list_too) {
    EXPECT("postgresql://u@a:1/db", "a - -");
    EXPECT("postgresql:///db?host=/run/postgresql", "/run/postgresql - -");
}

Test(pg_hosts, libpq_finds_hosts_that_have_no_name_or_make_no_sense) {
    EXPECT("", "- - -");
    EXPECT("dbname=db", "- - -");
    EXPECT("host=a,,b", "- - -");
    EXPECT("host=/run/postgresql,b hostaddr=,10.0.0.1", "- - -");
    EXPECT("host=a,b port=1,2,3", "- - -");
    EXPECT("host=a,b hostaddr=10.0.0.1", "- - -");
    EXPECT("service=none", "- - -");
    EXPECT("host", "- - -");
}

Test(pg_hosts, the_environment_and_the_service_file_have_hosts_as_well) {
    char path[] = "/tmp/pg_hosts_test_XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    fputs("[coupons]\nhost=s,t\nport=5,6\n", file);
    fclose(file);
    setenv("PGHOST", "e,f", 1);
    setenv("PGPORT", "7,8", 1);
    setenv("PGSERVICEFILE", path, 1);
    EXPECT("dbname=db", "e - 7", "f - 8");
    EXPECT("host=a,b", "a - 7", "b - 8");
    EXPECT("service=coupons", "s - 5", "t - 6");
    EXPECT("host=a,b service=coupons", "a - 5", "b - 6");
    setenv("PGHOSTADDR", "10.0.0.1,10.0.0.2", 1);
    EXPECT("host=a,b", "a 10.0.0.1 7", "b 10.0.0.2 8");
    unlink(path);
}

Test(pg_hosts, a_name_is_what_is_neither_a_directory_nor_has_an_address) {
    pg_hosts_init(&hosts, "host=a,/run,@abstract,10.0.0.1", 3);
    cr_assert_eq(hosts.n, 4);
    cr_expect(pg_host_is_name(&hosts.list[0]));
    cr_expect_not(pg_host_is_name(&hosts.list[1]));
    cr_expect_not(pg_host_is_name(&hosts.list[2]));
    cr_expect(pg_host_is_name(&hosts.list[3]), "the resolver tells addresses from names");
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, "hostaddr=10.0.0.1", 3);
    cr_expect_not(pg_host_is_name(&hosts.list[0]));
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, "host=a hostaddr=10.0.0.1", 3);
    cr_expect_not(pg_host_is_name(&hosts.list[0]));
}

Test(pg_hosts, the_connect_time_out_of_the_url_counts_more_than_the_setting_and_that_more_than_the_environment) {
    static const struct {
        const char *url;
        int seconds;
    } cases[] = {{"host=a", 3}, {"host=a connect_timeout=7", 7}, {"connect_timeout=0", 3}, {"connect_timeout=-1", 3}};
    setenv("PGCONNECT_TIMEOUT", "20", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pg_hosts_deinit(&hosts);
        pg_hosts_init(&hosts, cases[i].url, 3);
        cr_expect_eq(hosts.connect_timeout_s, cases[i].seconds, "%s", cases[i].url);
    }
}
