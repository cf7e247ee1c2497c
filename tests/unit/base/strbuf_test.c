/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/strbuf.h"

static void expect_json(const char *text, const char *json) {
    struct strbuf buf = {0};
    strbuf_json(&buf, text);
    cr_expect_str_eq(buf.data, json);
    cr_expect_eq(buf.len, strlen(json));
    strbuf_deinit(&buf);
}

Test(strbuf, pieces_are_joined_and_terminated) {
    struct strbuf buf = {0};
    strbuf_puts(&buf, "");
    cr_expect_str_eq(buf.data, "");
    strbuf_puts(&buf, "a");
    strbuf_add(&buf, "bcd", 2);
    strbuf_printf(&buf, "-%d-%s", 7, "x");
    cr_expect_str_eq(buf.data, "abc-7-x");
    cr_expect_eq(buf.len, 7);
    strbuf_deinit(&buf);
    cr_expect_null(buf.data);
    cr_expect_eq(buf.len, 0);
}

Test(strbuf, bytes_with_nul_are_kept) {
    struct strbuf buf = {0};
    strbuf_add(&buf, "a\0b", 3);
    cr_expect_eq(buf.len, 3);
    cr_expect_eq(memcmp(buf.data, "a\0b", 4), 0);
    strbuf_deinit(&buf);
}

Test(strbuf, it_grows_with_what_is_added) {
    struct strbuf buf = {0};
    for (int i = 0; i < 10000; i++)
        strbuf_printf(&buf, "%04d,", i);
    cr_expect_eq(buf.len, 50000);
    cr_expect_eq(strncmp(buf.data + 5 * 9999, "9999,", 6), 0);
    strbuf_deinit(&buf);
}

Test(strbuf, freeing_twice_or_null_is_fine) {
    struct strbuf buf = {0};
    strbuf_puts(&buf, "x");
    strbuf_deinit(&buf);
    strbuf_deinit(&buf);
    strbuf_deinit(NULL);
}

Test(strbuf, json_escapes_what_json_does_not_allow) {
    expect_json("", "\"\"");
    expect_json("plain /", "\"plain /\"");
    expect_json("\"\\\n\r\t\x01\x7f", "\"\\\"\\\\\\n\\r\\t\\u0001\\u007f\"");
}

Test(strbuf, json_keeps_whole_characters) {
    expect_json("é 쿠폰 🎟", "\"é 쿠폰 🎟\"");
}

Test(strbuf, json_replaces_bytes_that_are_not_utf8) {
#define FFFD "\xEF\xBF\xBD"
    expect_json("a\xFFz", "\"a" FFFD "z\"");
    expect_json("\xC3", "\"" FFFD "\"");                            /* cut */
    expect_json("\xC0\xAF", "\"" FFFD FFFD "\"");                   /* overlong */
    expect_json("\xED\xA0\x80", "\"" FFFD FFFD FFFD "\"");          /* a surrogate */
    expect_json("\xF4\x90\x80\x80", "\"" FFFD FFFD FFFD FFFD "\""); /* above U+10FFFF */
}
