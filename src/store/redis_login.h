/* SPDX-License-Identifier: Apache-2.0 */
/* The name and password by which we log in to a Redis server. Those that come from files are read again for each login,
 * so that a password can be rotated without a restart. One thread. */
#pragma once

#include "config/redis_url.h"

/* Paths; NULL: the text does not come from a file. */
struct redis_login_files {
    const char *url_file; /* a URL of config/redis_url.h; only its credentials are used */
    const char *user_file, *password_file;
};

struct redis_login {
    struct redis_login_files files;
    char user[REDIS_CREDENTIAL_SIZE], password[REDIS_CREDENTIAL_SIZE]; /* "": none */
};

/* `user` and `password` are those that the files had at the start. Longer ones than a URL may have are cut. */
void redis_login_init(struct redis_login *login, const struct redis_login_files *files, const char *user,
                      const char *password);
/* Reads the files. A file that is missing or has no usable text leaves its text as it was. */
void redis_login_refresh(struct redis_login *login);
