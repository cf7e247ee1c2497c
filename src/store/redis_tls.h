/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for connections to Redis, by OpenSSL. hiredis 0.14 has no TLS, and later versions have it in a library of their
 * own; couponsd uses hiredis for the protocol only, so that TLS does not depend on its version. The files are read
 * again for each connection: a renewed certificate needs no restart. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/err.h"

struct redis_tls {
    const char *ca;                /* a file of authorities in PEM; "": the system's */
    const char *certificate, *key; /* files in PEM that Redis may ask for; "": none */
    const char *name;              /* the name that certificates must have; "": that of the host connected to */
};

/* Checks the files. Fails with ERR_INVALID. */
bool redis_tls_check(const struct redis_tls *tls, struct err *err);
/* Makes a session on a connected socket. The socket's own time-outs limit each step of the handshake. Returns NULL on
 * failure, with ERR_UNAVAILABLE and a text without the address. */
SSL *redis_tls_connect(const struct redis_tls *tls, const char *host, int fd, struct err *err);
