/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"

Test(err, setting_one_returns_false_and_fills_everything) {
    struct err err;
    memset(&err, 'x', sizeof err);
    cr_expect_not(err_set(&err, ERR_REFUSED, BACKEND_POSTGRES, "no %s in row %d", "ticket", 7));
    cr_expect_eq(err.code, ERR_REFUSED);
    cr_expect_eq(err.backend, BACKEND_POSTGRES);
    cr_expect_not(err.retriable);
    cr_expect_str_eq(err.sqlstate, "");
    cr_expect_str_eq(err.text, "no ticket in row 7");
}

Test(err, only_unavailable_is_retriable) {
    for (int code = ERR_INVALID; code <= ERR_INTERNAL; code++) {
        struct err err;
        err_set(&err, (enum err_code)code, BACKEND_NONE, "x");
        cr_expect_eq(err.retriable, code == ERR_UNAVAILABLE);
    }
}

Test(err, a_caller_who_does_not_care_passes_null) {
    cr_expect_not(err_set(NULL, ERR_INTERNAL, BACKEND_NONE, "%d", 1));
}

Test(err, line_breaks_become_spaces_and_go_at_the_end) {
    struct err err;
    err_set(&err, ERR_REFUSED, BACKEND_POSTGRES, "ERROR: a\nDETAIL:\tb\r\n\n");
    cr_expect_str_eq(err.text, "ERROR: a DETAIL: b");
}

Test(err, words_can_be_put_before_the_text_it_has) {
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, BACKEND_REDIS, "refused");
    err_set(&err, err.code, err.backend, "reading flags: %s", err.text);
    cr_expect_str_eq(err.text, "reading flags: refused");
    cr_expect_eq(err.backend, BACKEND_REDIS);
}

Test(err, a_long_text_is_cut_at_a_whole_character) {
    char text[1000];
    struct err err;
    /* é has two bytes. With one letter before them, the text is cut within a character. */
    for (int shift = 0; shift < 2; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t i = (size_t)shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "é", 2);
        text[sizeof text - 1] = '\0';
        err_set(&err, ERR_INTERNAL, BACKEND_NONE, "%s", text);
        size_t len = strlen(err.text);
        cr_expect_eq(len, shift == 0 ? sizeof err.text - 2 : sizeof err.text - 1);
        cr_expect_eq((unsigned char)err.text[len - 1], 0xA9);
    }
}

Test(err, bytes_that_are_not_utf_8_become_question_marks) {
    struct err err;
    err_set(&err, ERR_REFUSED, BACKEND_POSTGRES, "\xb1\xd9 \xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 쿠폰🎟 \xe2\x82");
    cr_expect_str_eq(err.text, "?? ??? ?? ???? 쿠폰🎟 ??");
}

Test(err, backends_have_the_names_that_clients_see) {
    cr_expect_str_eq(backend_name(BACKEND_POSTGRES), "postgres");
    cr_expect_str_eq(backend_name(BACKEND_REDIS), "redis");
    cr_expect_str_eq(backend_name(BACKEND_KAFKA), "kafka");
    cr_expect_str_eq(backend_name(BACKEND_NONE), "");
}
