/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/couponsd-secret-XXXXXX";

static void set_up(void) {
    close(mkstemp(path));
}

static void tear_down(void) {
    unlink(path);
}

TestSuite(secret_file, .init = set_up, .fini = tear_down);

static char *text_of(const char *bytes, size_t len, const char **ret_why) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
    return secret_file_read(path, ret_why, NULL);
}

Test(secret_file, line_breaks_at_the_end_do_not_belong_to_the_secret) {
    static const char *const files[] = {"a b ", "a b \n", "a b \r\n", "a b \n\n"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *why = NULL;
        char *text = text_of(files[i], strlen(files[i]), &why);
        cr_assert_not_null(text, "%s", why);
        cr_expect_str_eq(text, "a b ");
        free(text);
    }
}

Test(secret_file, a_file_without_a_secret_says_why) {
    const char *why = NULL;
    static char long_text[64 * 1024];
    memset(long_text, 'x', sizeof long_text);
    cr_expect_null(text_of("", 0, &why));
    cr_expect_str_eq(why, "is empty");
    cr_expect_null(text_of("\r\n", 2, &why));
    cr_expect_str_eq(why, "is empty");
    cr_expect_null(text_of("a\0b", 3, &why));
    cr_expect_str_eq(why, "has a NUL byte");
    cr_expect_null(text_of(long_text, sizeof long_text, &why));
    cr_expect_str_eq(why, "is longer than 64 KiB");
    cr_expect_null(secret_file_read("/nowhere/at/all", &why, NULL));
    cr_expect_str_eq(why, "can't be opened: No such file or directory");
    cr_expect_null(secret_file_read("/tmp", &why, NULL));
    cr_expect_str_eq(why, "can't be read");
}

Test(secret_file, a_file_that_is_missing_or_empty_may_come_later) {
    const char *why = NULL;
    bool may_come = false;
    cr_expect_null(secret_file_read("/nowhere/at/all", &why, &may_come));
    cr_expect(may_come);
    may_come = false;
    cr_expect_null(secret_file_read("/dev/null", &why, &may_come));
    cr_expect(may_come);
    cr_expect_null(secret_file_read("/proc/self/cmdline", &why, &may_come));
    cr_expect_str_eq(why, "has a NUL byte");
    cr_expect_not(may_come);
}
