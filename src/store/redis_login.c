/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret_file.h"

static void copy(char to[static REDIS_CREDENTIAL_SIZE], const char *text) {
    snprintf(to, REDIS_CREDENTIAL_SIZE, "%s", text);
}

void redis_login_init(struct redis_login *login, const struct redis_login_files *files, const char *user,
                      const char *password) {
    login->files = *files;
    copy(login->user, user);
    copy(login->password, password);
}

static void refresh(const char *path, char text[static REDIS_CREDENTIAL_SIZE]) {
    const char *why;
    char *have = path ? secret_file_read(path, &why, NULL) : NULL;
    if (have && strlen(have) < REDIS_CREDENTIAL_SIZE)
        copy(text, have);
    free(have);
}

void redis_login_refresh(struct redis_login *login) {
    const char *why;
    char *text = login->files.url_file ? secret_file_read(login->files.url_file, &why, NULL) : NULL;
    struct redis_url url;
    if (text && redis_url_parse(text, &url, NULL)) {
        copy(login->user, url.user);
        copy(login->password, url.password);
    }
    free(text);
    refresh(login->files.user_file, login->user);
    refresh(login->files.password_file, login->password);
}
