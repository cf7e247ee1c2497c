/* SPDX-License-Identifier: Apache-2.0 */
#include "config/redis_url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define URL_MAX  16384
#define PORT_MAX 65535
#define DB_MAX   9999 /* Redis itself limits the number of databases, usually to 16. */

static const struct {
    const char *scheme;
    enum redis_kind kind;
    bool has_tls;
} schemes[] = {
    {"redis://", REDIS_KIND_SERVER, false},
    {"rediss://", REDIS_KIND_SERVER, true},
    {"redis+sentinel://", REDIS_KIND_SENTINEL, false},
    {"rediss+sentinel://", REDIS_KIND_SENTINEL, true},
    {"unix://", REDIS_KIND_UNIX, false},
    {"redis+unix://", REDIS_KIND_UNIX, false},
};

static bool bad(struct err *err, const char *what) {
    return err_set(err, ERR_INVALID, BACKEND_REDIS, "redis.url: %s; it should look like redis://127.0.0.1:6379/0",
                   what);
}

static bool parse_number(const char *text, long max, int *ret) {
    if (!*text || strlen(text) > 5 || text[strspn(text, "0123456789")])
        return false;
    long value = strtol(text, NULL, 10);
    *ret = (int)value;
    return value <= max;
}

static bool parse_db(const char *text, struct redis_url *url, struct err *err) {
    return parse_number(text, DB_MAX, &url->db) || bad(err, "the database after the last / is not a number up to 9999");
}

/* Replaces each %XX by its byte, in place. */
static void percent_decode(char *text) {
    char *out = text;
    for (; *text; text++) {
        char hex[3] = {text[0] == '%' ? text[1] : 0, text[0] == '%' && text[1] ? text[2] : 0, 0}, *end = hex;
        long byte = hex[1] ? strtol(hex, &end, 16) : 0;
        if (end == hex + 2 && byte > 0) {
            *out++ = (char)byte;
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = 0;
}

static bool copy(char *to, size_t size, const char *text) {
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(to, text, len + 1);
    return true;
}

static bool is_made_of(const char *text, const char *more) {
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr(more, *text))
            return false;
    return true;
}

static bool parse_credentials(char *text, struct redis_url *url, struct err *err) {
    char *colon = strchr(text, ':');
    if (!colon)
        return bad(err, "credentials are user:password or :password");
    if (strpbrk(text, " \t"))
        return bad(err, "the credentials have a blank, which is written as %20");
    *colon = 0;
    percent_decode(text);
    percent_decode(colon + 1);
    return (copy(url->user, sizeof url->user, text) && copy(url->password, sizeof url->password, colon + 1)) ||
           bad(err, "the credentials are too long");
}

/* HOST[:PORT] */
static bool parse_address(char *text, struct redis_url *url, struct err *err) {
    if (url->n_addresses == REDIS_ADDRESSES_MAX)
        return bad(err, "it has more than 16 addresses");
    struct redis_address *address = &url->addresses[url->n_addresses++];
    address->port = url->kind == REDIS_KIND_SENTINEL ? REDIS_SENTINEL_PORT : REDIS_PORT;
    char *colon = strrchr(text, ':');
    if (colon && !strchr(colon, ']')) {
        *colon = 0;
        address->is_port_given = true;
        if (!parse_number(colon + 1, PORT_MAX, &address->port))
            return bad(err, "the port is not a number");
    }
    size_t len = strlen(text);
    const char *allowed = ".-_";
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text[len - 1] = 0;
        text++;
        allowed = ":.%";
        if (!*text)
            return bad(err, "the host in brackets is empty");
    }
    if (!is_made_of(text, allowed))
        return bad(err, "the host has a character that no host has");
    address->is_host_given = *text;
    return copy(address->host, sizeof address->host, *text ? text : "127.0.0.1") || bad(err, "the host is too long");
}

static bool parse_addresses(char *text, struct redis_url *url, struct err *err) {
    for (;;) {
        char *comma = strchr(text, ',');
        if (comma)
            *comma = 0;
        if (!parse_address(text, url, err))
            return false;
        if (!comma)
            break;
        text = comma + 1;
    }
    for (size_t i = 0; i < url->n_addresses; i++)
        if (url->n_addresses > 1 && !url->addresses[i].is_host_given)
            return bad(err, "one of several addresses is empty");
    return true;
}

/* PATH[?db=DB] */
static bool parse_socket(char *path, struct redis_url *url, struct err *err) {
    static const char db[] = "db=";
    char *query = strchr(path, '?');
    if (query) {
        *query++ = 0;
        if (strncmp(query, db, sizeof db - 1) != 0)
            return bad(err, "only ?db=DB may follow the path of a socket");
        if (!parse_db(query + sizeof db - 1, url, err))
            return false;
    }
    percent_decode(path);
    if (path[0] != '/' || !path[1])
        return bad(err, "unix:// needs the absolute path of a socket: unix:///run/redis/redis.sock");
    if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return bad(err, "the path of the socket is longer than 107 bytes");
    url->n_addresses = 1;
    return copy(url->addresses[0].host, sizeof url->addresses[0].host, path);
}

/* MASTER[/DB] */
static bool parse_master(char *text, struct redis_url *url, struct err *err) {
    char *slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    if (!*text || !is_made_of(text, ".-_") || !copy(url->master, sizeof url->master, text))
        return bad(err, "the addresses of Sentinels need the name of a master behind them: /mymaster");
    return !slash || !slash[1] || parse_db(slash + 1, url, err);
}

bool redis_url_parse(const char *text, struct redis_url *ret, struct err *err) {
    struct redis_url url = {0};
    const char *authority = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0] && !authority; i++)
        if (strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)) == 0) {
            url.kind = schemes[i].kind;
            url.has_tls = schemes[i].has_tls;
            authority = text + strlen(schemes[i].scheme);
        }
    if (!authority)
        return bad(err, "it does not start with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://");
    char rest[URL_MAX];
    if ((size_t)snprintf(rest, sizeof rest, "%s", authority) >= sizeof rest)
        return bad(err, "it is too long");
    char *slash = strchr(rest, '/'), path[URL_MAX] = "";
    if (slash) {
        memcpy(path, slash, strlen(slash) + 1);
        *slash = 0;
    }
    char *at = strrchr(rest, '@'), *hosts = at ? at + 1 : rest;
    if (at)
        *at = 0;
    if (at && !parse_credentials(rest, &url, err))
        return false;
    if (url.kind == REDIS_KIND_UNIX) {
        if (*hosts)
            return bad(err, "unix:// needs the absolute path of a socket: unix:///run/redis/redis.sock");
        if (!parse_socket(path, &url, err))
            return false;
    } else {
        char *after = path[0] ? path + 1 : path;
        if (!parse_addresses(hosts, &url, err))
            return false;
        if (url.kind == REDIS_KIND_SENTINEL && !parse_master(after, &url, err))
            return false;
        if (url.kind == REDIS_KIND_SERVER && *after && !parse_db(after, &url, err))
            return false;
    }
    *ret = url;
    return true;
}
