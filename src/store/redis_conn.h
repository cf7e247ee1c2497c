/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to one Redis server, over TCP, TLS or a Unix socket: hiredis's protocol over a socket of our own, whose
 * connecting, name lookup, handshake and commands all have time limits. Commands are pipelined: append some, flush,
 * read as many answers. After a failure the connection is useless, and the caller closes it. One thread. */
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/redis_url.h"
#include "store/redis_login.h"
#include "store/redis_tls.h"
#include "store/resolver.h"

struct redis_conn;

struct redis_conn_options {
    int64_t timeout_us;          /* of connecting, of one handshake step, and of one answer */
    const struct redis_tls *tls; /* NULL: none */
    struct redis_login *login;
    int db;
    struct resolver *resolver;
};

/* Connects and logs in. All functions fail with ERR_UNAVAILABLE and a text "HOST:PORT: …". */
bool redis_conn_open(const struct redis_conn_options *options, const struct redis_address *address,
                     struct redis_conn **ret_conn, struct err *err);
/* NULL is fine. */
void redis_conn_close(struct redis_conn *conn);

void redis_conn_append(struct redis_conn *conn, int argc, const char **argv);
bool redis_conn_flush(struct redis_conn *conn, struct err *err);
/* Reads one answer, to be freed with freeReplyObject. An answer may be an error of the server. */
bool redis_conn_read(struct redis_conn *conn, redisReply **ret_reply, struct err *err);
/* Runs one command. An error of the server is a failure. */
bool redis_conn_run(struct redis_conn *conn, int argc, const char **argv, redisReply **ret_reply, struct err *err);

/* True if the failure shows that the connection was cut while it was idle, so that another one may well work: the
 * connection has served before, and the peer closed it. */
bool redis_conn_was_cut(const struct redis_conn *conn);
const struct redis_address *redis_conn_address(const struct redis_conn *conn);
/* Sets *err to "HOST:PORT: WHAT", or "PATH: WHAT" for a Unix socket. Returns false. */
bool redis_address_error(const struct redis_address *address, struct err *err, const char *what);
