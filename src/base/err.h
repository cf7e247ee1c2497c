/* SPDX-License-Identifier: Apache-2.0 */
/* Errors are values: a function that can fail takes a last `struct err *err`, returns false (or NULL) on failure, and
 * has then filled *err. On success *err is untouched. `err` may be NULL where the caller does not care. */
#pragma once

#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID, /* the caller's input is wrong; the text names what and how to mend it */
    ERR_NOT_FOUND,
    ERR_CONFLICT,    /* something else holds or has changed what this needs */
    ERR_UNAVAILABLE, /* a server can't be reached or does not answer; retriable */
    ERR_PERMISSION,  /* a server refuses us: a credential or a privilege is missing */
    ERR_REFUSED,     /* a server understood and refused, e.g. an SQL error */
    ERR_INTERNAL,    /* a defect or an exhausted resource */
};

enum backend { BACKEND_NONE = 0, BACKEND_POSTGRES, BACKEND_REDIS, BACKEND_KAFKA };

struct err {
    enum err_code code;
    enum backend backend;
    bool retriable;
    char sqlstate[6]; /* of Postgres, else "" */
    char text[400];   /* one line, for people */
};

/* Fills *err (if not NULL) and returns false, so that a caller can write `return err_set(…)`.
 * ERR_UNAVAILABLE is marked retriable; nothing else is. Line breaks in the text become spaces. */
bool err_set(struct err *err, enum err_code code, enum backend backend, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "postgres", "redis", "kafka", or "" for BACKEND_NONE. */
const char *backend_name(enum backend backend);
