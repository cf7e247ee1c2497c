/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/target.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/strbuf.h"
#include "rpc/client.h"

static const struct {
    const char *text, *uris /* separated by spaces */, *name;
    bool is_local;
} targets[] = {
    {"127.0.0.1:1", "127.0.0.1:1", NULL, true},
    {"localhost:1", "localhost:1", NULL, true},
    {"LocalHost", "LocalHost", NULL, true},
    {"[::1]:1", "[::1]:1", NULL, true},
    {"::1", "::1", NULL, true},
    {"[::ffff:127.0.0.9]:1", "[::ffff:127.0.0.9]:1", NULL, true},
    {"unix:/run/x,y", "unix:/run/x,y", NULL, true},
    {"dns:///localhost:1", "dns:///localhost:1", NULL, true},
    {"ipv4:127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2", "127.0.0.1", true},
    {"127.0.0.1:1,127.0.0.2:2", "127.0.0.1:1 127.0.0.2:2", "127.0.0.1", true},
    {"127.0.0.1:1,[::1]:2", "127.0.0.1:1 [::1]:2", "127.0.0.1", true},
    {"[::1]:2,192.0.2.1:3", "[::1]:2 192.0.2.1:3", "::1", false},
    {"127.0.0.1:1,192.0.2.1:1", "127.0.0.1:1 192.0.2.1:1", "127.0.0.1", false},
    {"localhost:1,nothing.invalid:2", "localhost:1 nothing.invalid:2", "localhost", false},
    {"0.0.0.0:1", "0.0.0.0:1", NULL, false},
    {"coupons.test:1", "coupons.test:1", NULL, false},
    {"127.0.0.1.test:1", "127.0.0.1.test:1", NULL, false},
    {"localhost.test:1", "localhost.test:1", NULL, false},
    {"dns://192.0.2.1/localhost:1", "dns://192.0.2.1/localhost:1", NULL, false},
    {"", "", NULL, false},
};

static void join(const struct target *target, struct strbuf *text) {
    strbuf_printf(text, "%s", target->uris[0]);
    for (size_t i = 1; i < target->n; i++)
        strbuf_printf(text, " %s", target->uris[i]);
}

Test(target, a_list_becomes_a_uri_for_each_address_and_loopback_is_known) {
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct target target;
        struct err err;
        struct strbuf uris = {0};
        cr_assert(target_init(targets[i].text, &target, &err), "%s: %s", targets[i].text, err.text);
        join(&target, &uris);
        cr_expect_str_eq(uris.data, targets[i].uris);
        cr_expect_eq(target.is_local, targets[i].is_local, "%s", targets[i].text);
        cr_expect(targets[i].name ? target.name && strcmp(target.name, targets[i].name) == 0 : !target.name, "%s",
                  targets[i].text);
        strbuf_deinit(&uris);
        target_deinit(&target);
    }
}

Test(target, an_address_that_is_none_is_named) {
    static const char *const lists[][2] = {
        {"127.0.0.1:1,127.0.0.1", "\"127.0.0.1\" is no HOST:PORT"},
        {"127.0.0.1:1,", "\"\" is no HOST:PORT"},
        {",127.0.0.1:1", "\"\" is no HOST:PORT"},
        {"127.0.0.1:1,::1", "\"::1\" is no HOST:PORT"},
        {"127.0.0.1:1,127.0.0.1:x", "\"127.0.0.1:x\" is no HOST:PORT"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct target target;
        struct err err;
        cr_assert_not(target_init(lists[i][0], &target, &err), "%s", lists[i][0]);
        cr_expect(strstr(err.text, lists[i][1]), "%s", err.text);
    }
}

Test(target, a_token_goes_over_plain_text_to_loopback_only_or_where_the_user_says_so) {
    struct rpc_channel *channel;
    struct err err;
    struct rpc_channel_options options = {.token = "secret"};
    cr_assert(rpc_channel_new("127.0.0.1:1", &options, &channel, &err), "%s", err.text);
    rpc_channel_free(channel);
    cr_assert_not(rpc_channel_new("0.0.0.0:1", &options, &channel, &err));
    cr_expect(strstr(err.text, "0.0.0.0:1 is not loopback"), "%s", err.text);
    options.plaintext_token = true;
    cr_assert(rpc_channel_new("0.0.0.0:1", &options, &channel, &err), "%s", err.text);
    rpc_channel_free(channel);
    options.token = "two\nlines";
    cr_assert_not(rpc_channel_new("127.0.0.1:1", &options, &channel, &err));
    cr_expect(strstr(err.text, "token"), "%s", err.text);
}
