/* SPDX-License-Identifier: Apache-2.0 */
#include "config/redis_url.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct redis_url parsed(const char *text) {
    struct redis_url url;
    struct err err = {0};
    cr_assert(redis_url_parse(text, &url, &err), "%s: %s", text, err.text);
    return url;
}

static void expect_refused(const char *text, const char *why) {
    struct redis_url url;
    struct err err = {0};
    cr_expect_not(redis_url_parse(text, &url, &err), "%s", text);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect(strstr(err.text, why), "%s: %s", text, err.text);
    cr_expect_null(strstr(err.text, "s3cret"), "%s", err.text);
}

Test(redis_url, one_server_has_defaults) {
    struct redis_url url = parsed("redis://");
    cr_expect_eq(url.kind, REDIS_KIND_SERVER);
    cr_expect_not(url.has_tls);
    cr_expect_eq(url.n_addresses, 1);
    cr_expect_str_eq(url.addresses[0].host, "127.0.0.1");
    cr_expect_eq(url.addresses[0].port, 6379);
    cr_expect_not(url.addresses[0].is_host_given);
    cr_expect_eq(url.db, 0);
    cr_expect_str_eq(url.user, "");
    cr_expect_str_eq(url.password, "");
}

Test(redis_url, tls_credentials_and_several_addresses) {
    struct redis_url url = parsed("rediss://us%65r:p%40%2f%zz%@a:1,[::1]:2,c/12");
    cr_expect(url.has_tls);
    cr_expect_str_eq(url.user, "user");
    cr_expect_str_eq(url.password, "p@/%zz%");
    cr_expect_eq(url.n_addresses, 3);
    cr_expect_str_eq(url.addresses[0].host, "a");
    cr_expect_eq(url.addresses[0].port, 1);
    cr_expect_str_eq(url.addresses[1].host, "::1");
    cr_expect_eq(url.addresses[1].port, 2);
    cr_expect_str_eq(url.addresses[2].host, "c");
    cr_expect_eq(url.addresses[2].port, 6379);
    cr_expect_eq(url.db, 12);
}

Test(redis_url, sentinels_have_a_port_of_their_own_and_name_a_master) {
    struct redis_url url = parsed("redis+sentinel://:pw@a,b:7/my-master.1/3");
    cr_expect_eq(url.kind, REDIS_KIND_SENTINEL);
    cr_expect_str_eq(url.password, "pw");
    cr_expect_eq(url.n_addresses, 2);
    cr_expect_eq(url.addresses[0].port, 26379);
    cr_expect_eq(url.addresses[1].port, 7);
    cr_expect_str_eq(url.master, "my-master.1");
    cr_expect_eq(url.db, 3);
    cr_expect(parsed("rediss+sentinel://a/m").has_tls);
    cr_expect_eq(parsed("redis+sentinel://a/m/").db, 0);
    expect_refused("redis+sentinel://a", "name of a master");
    expect_refused("redis+sentinel://a/", "name of a master");
    expect_refused("redis+sentinel://a/m x", "name of a master");
    expect_refused("redis+sentinel://a/m/x", "not a number up to 9999");
}

Test(redis_url, a_socket_has_a_path_and_may_have_a_database) {
    struct redis_url url = parsed("unix://u:p@/run/my%20redis/redis.sock?db=4");
    cr_expect_eq(url.kind, REDIS_KIND_UNIX);
    cr_expect_str_eq(url.addresses[0].host, "/run/my redis/redis.sock");
    cr_expect_eq(url.addresses[0].port, 0);
    cr_expect_eq(url.db, 4);
    cr_expect_str_eq(url.user, "u");
    cr_expect_str_eq(parsed("redis+unix:///s").addresses[0].host, "/s");
    expect_refused("unix://", "absolute path");
    expect_refused("unix:///", "absolute path");
    expect_refused("unix://run/redis.sock", "absolute path");
    expect_refused("unix:///s?db=x", "not a number up to 9999");
    expect_refused("unix:///s?password=s3cret", "only ?db=DB");
    char path[200] = "unix:///";
    memset(path + 8, 's', 107);
    expect_refused(path, "longer than 107 bytes");
}

Test(redis_url, everything_else_is_refused_with_the_reason_and_never_shown) {
    char many[400] = "redis://h";
    for (int i = 0; i < REDIS_ADDRESSES_MAX; i++)
        strcat(many, ",h");
    expect_refused("http://h", "does not start with redis://, rediss://");
    expect_refused("redis://s3cret@h", "user:password or :password");
    expect_refused("redis://u:s3cret s3cret@h", "blank");
    expect_refused("redis://h,,h", "one of several addresses is empty");
    expect_refused("redis://h?x", "no host has");
    expect_refused("redis://[]:1", "brackets is empty");
    expect_refused("redis://h:99999", "the port is not a number");
    expect_refused(many, "more than 16 addresses");
}
