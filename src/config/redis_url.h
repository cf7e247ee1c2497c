/* SPDX-License-Identifier: Apache-2.0 */
/* The setting redis.url. Its forms, in which the credentials are percent-encoded:
 *
 *   redis://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]]…[/DB]      a server, or any nodes of a cluster
 *   redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,…]/MASTER[/DB]  Sentinels; credentials and DB are the master's
 *   unix://[[USER]:PASSWORD@]/PATH[?db=DB]                          a Unix socket; redis+unix:// is the same
 *
 * rediss:// and rediss+sentinel:// mean TLS. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define REDIS_PORT          6379
#define REDIS_SENTINEL_PORT 26379
#define REDIS_HOST_SIZE     256
/* Of a user or a password: tokens of cloud identities have thousands of bytes. */
#define REDIS_CREDENTIAL_SIZE 4097
#define REDIS_ADDRESSES_MAX   16

enum redis_kind { REDIS_KIND_SERVER, REDIS_KIND_SENTINEL, REDIS_KIND_UNIX };

struct redis_address {
    char host[REDIS_HOST_SIZE]; /* a name, or an IP address without brackets; REDIS_KIND_UNIX: the socket's path */
    int port;                   /* 0: a Unix socket */
    bool is_host_given;         /* false: the URL names none, so it is 127.0.0.1 */
    bool is_port_given;
};

struct redis_url {
    enum redis_kind kind;
    bool has_tls;
    char user[REDIS_CREDENTIAL_SIZE], password[REDIS_CREDENTIAL_SIZE]; /* "": none */
    struct redis_address addresses[REDIS_ADDRESSES_MAX];
    size_t n_addresses; /* at least 1 */
    char master[REDIS_HOST_SIZE];
    int db;
};

/* Fails with ERR_INVALID. The error never repeats the URL, which may have a password. */
bool redis_url_parse(const char *url, struct redis_url *ret, struct err *err);
