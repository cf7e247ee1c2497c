/* SPDX-License-Identifier: Apache-2.0 */
/* Errors are values. A function that can fail has a last parameter `struct err *err`. On failure it returns false (or
 * NULL) and sets *err; on success it leaves *err untouched. `err` may be NULL if the caller does not need the error. */
#pragma once

#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID, /* the caller's input is wrong; the text names the input and how to correct it */
    ERR_NOT_FOUND,
    ERR_CONFLICT,    /* the operation conflicts with the present state */
    ERR_UNAVAILABLE, /* a server can't be reached or does not answer, or a file is not there yet; retriable */
    ERR_PERMISSION,  /* a server refuses access: a credential or a privilege is missing */
    ERR_REFUSED,     /* a server refuses the operation, e.g. an SQL error */
    ERR_INTERNAL,    /* a defect or an exhausted resource */
};

enum backend { BACKEND_NONE = 0, BACKEND_POSTGRES, BACKEND_REDIS, BACKEND_KAFKA };

struct err {
    enum err_code code;
    enum backend backend;
    bool retriable;
    char sqlstate[6]; /* Postgres's error code, or "" */
    char text[400];   /* one line, human-readable */
};

/* Sets *err unless `err` is NULL. Always returns false, so that a caller can write `return err_set(…)`. Only
 * ERR_UNAVAILABLE is marked as retriable. Control characters in the text become spaces, and bytes that are not
 * UTF-8 become question marks. */
bool err_set(struct err *err, enum err_code code, enum backend backend, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Returns "postgres", "redis", "kafka", or "" for BACKEND_NONE. */
const char *backend_name(enum backend backend);
