/* SPDX-License-Identifier: Apache-2.0 */
#include "store/flags.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define KEY_MAX  64
#define HOST_MAX 256
#define URL_MAX  2048
#define DB_MAX   9999 /* the limit of config.c; Redis has its own */

struct flags {
    char host[HOST_MAX], user[HOST_MAX], password[HOST_MAX];
    int port, db;
    struct timeval timeout;
    redisContext *context;
    int64_t retry_at_us;
    uint64_t reads;
};

/* An older version never overwrites a newer one. Two writers with the same version write the same value, so a repeat is
 * harmless, and corrects a value that was changed by hand. */
static const char set_script[] = "local have = tonumber(redis.call('GET', KEYS[2]) or '0') "
                                 "if tonumber(ARGV[2]) < have then return 0 end "
                                 "redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], ARGV[2]) return 1";

static bool bad_url(struct err *err, const char *what) {
    return err_set(err, ERR_INVALID, BACKEND_REDIS, "redis.url: %s; it should look like redis://127.0.0.1:6379/0",
                   what);
}

static bool parse_number(const char *text, long max, int *ret) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > max)
        return false;
    *ret = (int)value;
    return true;
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

static bool parse_url(struct flags *flags, const char *url, struct err *err) {
    static const char scheme[] = "redis://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return bad_url(err, "it does not start with redis://");
    char rest[URL_MAX];
    if ((size_t)snprintf(rest, sizeof rest, "%s", url + sizeof scheme - 1) >= sizeof rest)
        return bad_url(err, "it is too long");
    flags->port = 6379;
    char *host = rest, *at = strrchr(rest, '@');
    if (at) {
        *at = 0;
        host = at + 1;
        char *colon = strchr(rest, ':');
        if (!colon)
            return bad_url(err, "credentials are user:password or :password");
        *colon = 0;
        percent_decode(rest);
        percent_decode(colon + 1);
        if (strlen(rest) >= sizeof flags->user || strlen(colon + 1) >= sizeof flags->password)
            return bad_url(err, "the credentials are too long");
        memcpy(flags->user, rest, strlen(rest) + 1);
        memcpy(flags->password, colon + 1, strlen(colon + 1) + 1);
    }
    char *slash = strchr(host, '/');
    if (slash) {
        *slash = 0;
        if (slash[1] && !parse_number(slash + 1, DB_MAX, &flags->db))
            return bad_url(err, "the database after the last / is not a number up to 9999");
    }
    char *colon = strrchr(host, ':');
    if (colon && !strchr(colon, ']')) {
        *colon = 0;
        if (!parse_number(colon + 1, 65535, &flags->port))
            return bad_url(err, "the port is not a number");
    }
    size_t len = strlen(host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        host++;
    }
    if (strlen(host) >= sizeof flags->host)
        return bad_url(err, "the host is too long");
    memcpy(flags->host, *host ? host : "127.0.0.1", strlen(*host ? host : "127.0.0.1") + 1);
    return true;
}

bool flags_new(const char *url, int64_t timeout_ms, struct flags **ret_flags, struct err *err) {
    struct flags *flags = memory_new(1, sizeof *flags);
    flags->timeout = (struct timeval){.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (!parse_url(flags, url, err)) {
        free(flags);
        return false;
    }
    *ret_flags = flags;
    return true;
}

void flags_free(struct flags *flags) {
    if (!flags)
        return;
    if (flags->context)
        redisFree(flags->context);
    free(flags);
}

uint64_t flags_reads(const struct flags *flags) {
    return flags->reads;
}

/* Drops the connection: hiredis can't use a context after an error. */
static bool drop(struct flags *flags, struct err *err, const char *what) {
    err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s:%d: %s", flags->host, flags->port, what);
    if (flags->context)
        redisFree(flags->context);
    flags->context = NULL;
    flags->retry_at_us = clock_mono_us() + FLAGS_RETRY_MS * US_PER_MS;
    return false;
}

static bool drop_with_reason(struct flags *flags, struct err *err) {
    char what[160];
    snprintf(what, sizeof what, "%s",
             flags->context && flags->context->errstr[0] ? flags->context->errstr : "no answer");
    return drop(flags, err, what);
}

static bool run(struct flags *flags, int argc, const char **argv, struct err *err) {
    redisReply *reply = redisCommandArgv(flags->context, argc, argv, NULL);
    if (!reply)
        return drop_with_reason(flags, err);
    bool ok = reply->type != REDIS_REPLY_ERROR;
    if (!ok)
        drop(flags, err, reply->str);
    freeReplyObject(reply);
    return ok;
}

bool flags_connect(struct flags *flags, struct err *err) {
    if (flags->context)
        return true;
    if (clock_mono_us() < flags->retry_at_us)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s:%d: not reachable a moment ago", flags->host,
                       flags->port);
    flags->context = redisConnectWithTimeout(flags->host, flags->port, flags->timeout);
    if (!flags->context || flags->context->err)
        return drop_with_reason(flags, err);
    redisSetTimeout(flags->context, flags->timeout);
    if (*flags->password) {
        const char *auth[] = {"AUTH", flags->user, flags->password};
        const char *auth_default[] = {"AUTH", flags->password};
        if (!(*flags->user ? run(flags, 3, auth, err) : run(flags, 2, auth_default, err)))
            return false;
    }
    if (flags->db) {
        char db[16];
        snprintf(db, sizeof db, "%d", flags->db);
        const char *select[] = {"SELECT", db};
        if (!run(flags, 2, select, err))
            return false;
    }
    return true;
}

static void key_of(char key[static KEY_MAX], const char *prefix, int64_t id) {
    snprintf(key, KEY_MAX, "%s:%lld", prefix, (long long)id);
}

static void read_flag(struct flag *item, const redisReply *value, const redisReply *version) {
    item->value = FLAG_MISSING;
    if (value->type == REDIS_REPLY_STRING)
        item->value = strcmp(value->str, "true") == 0    ? FLAG_TRUE
                      : strcmp(value->str, "false") == 0 ? FLAG_FALSE
                                                         : FLAG_MISSING;
    item->version = version->type == REDIS_REPLY_STRING ? strtoll(version->str, NULL, 10) : 0;
}

bool flags_get(struct flags *flags, struct flag *items, size_t n, struct err *err) {
    if (n == 0)
        return true;
    if (!flags_connect(flags, err))
        return false;
    int argc = (int)(1 + 2 * n);
    const char **argv = memory_resize(NULL, (size_t)argc, sizeof *argv);
    char(*keys)[KEY_MAX] = memory_resize(NULL, 2 * n, sizeof *keys);
    argv[0] = "MGET";
    for (size_t i = 0; i < n; i++) {
        key_of(keys[2 * i], "coupon:available", items[i].coupon_id);
        key_of(keys[2 * i + 1], "coupon:available_version", items[i].coupon_id);
        argv[1 + 2 * i] = keys[2 * i];
        argv[2 + 2 * i] = keys[2 * i + 1];
    }
    redisReply *reply = redisCommandArgv(flags->context, argc, argv, NULL);
    flags->reads++;
    free(argv);
    free(keys);
    if (!reply)
        return drop_with_reason(flags, err);
    bool ok = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 * n;
    if (ok)
        for (size_t i = 0; i < n; i++)
            read_flag(&items[i], reply->element[2 * i], reply->element[2 * i + 1]);
    else
        drop(flags, err, reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected answer to MGET");
    freeReplyObject(reply);
    return ok;
}

/* Sends EVAL rather than EVALSHA, which would need a second attempt after each restart of Redis. The script is short,
 * and Redis caches it by its content. */
static void append_set(struct flags *flags, const struct flag *item) {
    char flag_key[KEY_MAX], version_key[KEY_MAX], version[24];
    key_of(flag_key, "coupon:available", item->coupon_id);
    key_of(version_key, "coupon:available_version", item->coupon_id);
    snprintf(version, sizeof version, "%lld", (long long)item->version);
    const char *argv[] = {"EVAL", set_script, "2", flag_key, version_key, item->value == FLAG_TRUE ? "true" : "false",
                          version};
    redisAppendCommandArgv(flags->context, (int)(sizeof argv / sizeof argv[0]), argv, NULL);
}

bool flags_set(struct flags *flags, const struct flag *items, size_t n, struct err *err) {
    if (n == 0)
        return true;
    if (!flags_connect(flags, err))
        return false;
    for (size_t i = 0; i < n; i++)
        append_set(flags, &items[i]);
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = NULL;
        if (redisGetReply(flags->context, (void **)&reply) != REDIS_OK || !reply)
            return drop_with_reason(flags, err);
        bool ok = reply->type != REDIS_REPLY_ERROR;
        if (!ok)
            drop(flags, err, reply->str);
        freeReplyObject(reply);
        if (!ok)
            return false;
    }
    return true;
}
