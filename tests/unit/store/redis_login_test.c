/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_login.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char url_file[] = "/tmp/couponsd-url-XXXXXX", password_file[] = "/tmp/couponsd-password-XXXXXX";

static void set_up(void) {
    close(mkstemp(url_file));
    close(mkstemp(password_file));
}

static void tear_down(void) {
    unlink(url_file);
    unlink(password_file);
}

TestSuite(redis_login, .init = set_up, .fini = tear_down);

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void expect_login(struct redis_login *login, const char *user, const char *password) {
    redis_login_refresh(login);
    cr_expect_str_eq(login->user, user);
    cr_expect_str_eq(login->password, password);
}

Test(redis_login, without_files_it_stays_what_it_was) {
    struct redis_login login;
    redis_login_init(&login, &(struct redis_login_files){0}, "app", "old");
    expect_login(&login, "app", "old");
}

Test(redis_login, a_password_is_read_again_and_the_user_stays) {
    struct redis_login login;
    redis_login_init(&login, &(struct redis_login_files){.password_file = password_file}, "app", "old");
    write_text(password_file, "new\n");
    expect_login(&login, "app", "new");
}

Test(redis_login, a_token_of_thousands_of_bytes_is_taken_whole) {
    static char token[REDIS_CREDENTIAL_SIZE];
    struct redis_login login;
    memset(token, 'x', sizeof token - 1);
    redis_login_init(&login, &(struct redis_login_files){.password_file = password_file}, "app", "old");
    write_text(password_file, token);
    expect_login(&login, "app", token);
}

Test(redis_login, a_password_of_its_own_replaces_that_of_the_url) {
    struct redis_login login;
    const struct redis_login_files files = {.url_file = url_file, .password_file = password_file};
    redis_login_init(&login, &files, "app", "old");
    write_text(url_file, "redis://other:pw@127.0.0.1:6379/0\n");
    expect_login(&login, "other", "pw");
    write_text(password_file, "own");
    expect_login(&login, "other", "own");
}

Test(redis_login, a_file_without_usable_text_changes_nothing) {
    static char too_long[REDIS_CREDENTIAL_SIZE + 1];
    struct redis_login login;
    const struct redis_login_files files = {.url_file = url_file, .password_file = password_file};
    redis_login_init(&login, &files, "app", "old");
    expect_login(&login, "app", "old");
    memset(too_long, 'x', sizeof too_long - 1);
    write_text(url_file, "http://other:pw@127.0.0.1");
    write_text(password_file, too_long);
    expect_login(&login, "app", "old");
    unlink(url_file);
    unlink(password_file);
    expect_login(&login, "app", "old");
}
