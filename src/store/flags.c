/* SPDX-License-Identifier: Apache-2.0 */
#include "store/flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "store/redis_slots.h"

#define KEY_MAX 80
/* A version has at most this many digits; Lua's numbers are exact up to it. Other texts count as version 0. */
#define VERSION_DIGITS_MAX 15

struct flags {
    struct redis *redis;
    struct metric *not_written;
};

/* The keys of one item, and the arguments of its command. */
struct item_command {
    char keys[2][KEY_MAX];
    char version[24], replaces[24];
    const char *argv[8];
};

/* An older version never overwrites a newer one, except the one that ARGV[3] names. Two writers with the same version
 * write the same value, so a repeat is harmless, and corrects a value that was changed by hand. MGET gives no error for
 * a key of another type, which MSET then overwrites. */
static const char set_script[] = "local text = redis.call('MGET', KEYS[2])[1] or '' "
                                 "local have = #text <= 15 and tonumber(string.match(text, '^%d+$')) or 0 "
                                 "if tonumber(ARGV[2]) < have and tonumber(ARGV[3]) ~= have then return 0 end "
                                 "redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], ARGV[2]) return 1";

bool flags_new(const struct redis_options *options, struct flags **ret_flags, struct err *err) {
    struct redis *redis;
    if (!redis_new(options, &redis, err))
        return false;
    struct flags *flags = memory_new(1, sizeof *flags);
    flags->redis = redis;
    flags->not_written =
        metrics_counter("couponsd_redis_flags_not_written_total",
                        "Flags that Redis did not take, since it was unavailable or refused writes.", "");
    *ret_flags = flags;
    return true;
}

void flags_free(struct flags *flags) {
    if (!flags)
        return;
    redis_free(flags->redis);
    free(flags);
}

bool flags_connect(struct flags *flags, struct err *err) {
    return redis_connect(flags->redis, err);
}

static void set_keys(char keys[2][KEY_MAX], int64_t coupon_id, bool is_cluster) {
    long long id = (long long)coupon_id;
    snprintf(keys[0], KEY_MAX, "coupon:available:%lld", id);
    snprintf(keys[1], KEY_MAX,
             is_cluster ? "coupon:available_version:{coupon:available:%lld}" : "coupon:available_version:%lld", id);
}

static int64_t version_of(const char *text) {
    size_t len = strlen(text);
    return len <= VERSION_DIGITS_MAX && strspn(text, "0123456789") == len ? strtoll(text, NULL, 10) : 0;
}

static void read_flag(struct flag *item, const redisReply *value, const redisReply *version) {
    item->value = FLAG_MISSING;
    if (value->type == REDIS_REPLY_STRING)
        item->value = strcmp(value->str, "true") == 0    ? FLAG_TRUE
                      : strcmp(value->str, "false") == 0 ? FLAG_FALSE
                                                         : FLAG_MISSING;
    item->version = version->type == REDIS_REPLY_STRING ? version_of(version->str) : 0;
}

/* Fills items from an answer to MGET. */
static bool read_flags(struct flag *items, size_t n, const redisReply *reply, struct err *err) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 * n)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "unexpected answer to MGET");
    for (size_t i = 0; i < n; i++)
        read_flag(&items[i], reply->element[2 * i], reply->element[2 * i + 1]);
    return true;
}

/* One server: one MGET for all items. */
static bool get_at_once(struct flags *flags, struct flag *items, size_t n, struct err *err) {
    int argc = (int)(1 + 2 * n);
    const char **argv = memory_resize(NULL, (size_t)argc, sizeof *argv);
    char(*keys)[KEY_MAX] = memory_resize(NULL, 2 * n, sizeof *keys);
    argv[0] = "MGET";
    for (size_t i = 0; i < n; i++)
        set_keys(&keys[2 * i], items[i].coupon_id, false);
    for (size_t i = 0; i < 2 * n; i++)
        argv[1 + i] = keys[i];
    struct redis_command command = {.argc = argc, .argv = argv};
    bool ok = redis_run(flags->redis, &command, 1, err) && read_flags(items, n, command.reply, err);
    redis_clear(&command, 1);
    free(argv);
    free(keys);
    return ok;
}

/* A cluster: the keys of an item have one slot, those of several have not. */
static bool get_one_by_one(struct flags *flags, struct flag *items, size_t n, struct err *err) {
    struct redis_command *commands = memory_new(n, sizeof *commands);
    struct item_command *rows = memory_resize(NULL, n, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        struct item_command *row = &rows[i];
        set_keys(row->keys, items[i].coupon_id, true);
        row->argv[0] = "MGET";
        row->argv[1] = row->keys[0];
        row->argv[2] = row->keys[1];
        commands[i] = (struct redis_command){.slot = redis_slot(row->keys[0]), .argc = 3, .argv = row->argv};
    }
    bool ok = redis_run(flags->redis, commands, n, err);
    for (size_t i = 0; i < n; i++)
        if (commands[i].reply && commands[i].reply->type != REDIS_REPLY_ERROR)
            ok &= read_flags(&items[i], 1, commands[i].reply, err);
    redis_clear(commands, n);
    free(rows);
    free(commands);
    return ok;
}

static bool get(struct flags *flags, struct flag *items, size_t n, struct err *err) {
    return redis_is_cluster(flags->redis) ? get_one_by_one(flags, items, n, err) : get_at_once(flags, items, n, err);
}

bool flags_get(struct flags *flags, struct flag *items, size_t n, struct err *err) {
    bool was_cluster = redis_is_cluster(flags->redis);
    if (n == 0 || get(flags, items, n, err))
        return true;
    return redis_is_cluster(flags->redis) != was_cluster && get(flags, items, n, err);
}

/* Sends EVAL rather than EVALSHA, which would need a second attempt after each restart of Redis. The script is short,
 * and Redis caches it by its content. */
static bool set(struct flags *flags, const struct flag *items, size_t n, struct err *err) {
    bool is_cluster = redis_is_cluster(flags->redis);
    struct redis_command *commands = memory_new(n, sizeof *commands);
    struct item_command *rows = memory_resize(NULL, n, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        struct item_command *row = &rows[i];
        set_keys(row->keys, items[i].coupon_id, is_cluster);
        snprintf(row->version, sizeof row->version, "%lld", (long long)items[i].version);
        snprintf(row->replaces, sizeof row->replaces, "%lld", (long long)items[i].replaces);
        const char *argv[] = {"EVAL",       set_script,   "2",
                              row->keys[0], row->keys[1], items[i].value == FLAG_TRUE ? "true" : "false",
                              row->version, row->replaces};
        memcpy(row->argv, argv, sizeof argv);
        commands[i] = (struct redis_command){
            .slot = redis_slot(row->keys[0]), .argc = (int)(sizeof argv / sizeof argv[0]), .argv = row->argv};
    }
    bool ok = redis_run(flags->redis, commands, n, err);
    redis_clear(commands, n);
    free(rows);
    free(commands);
    return ok;
}

bool flags_set(struct flags *flags, const struct flag *items, size_t n, struct err *err) {
    bool was_cluster = redis_is_cluster(flags->redis);
    if (n == 0 || set(flags, items, n, err))
        return true;
    if (redis_is_cluster(flags->redis) != was_cluster && set(flags, items, n, err))
        return true;
    metric_add(flags->not_written, (int64_t)n);
    return false;
}

struct flag flag_of(const struct coupon *coupon, int64_t now_us) {
    return (struct flag){
        .coupon_id = coupon->id,
        .value = coupon_is_available(coupon, now_us) ? FLAG_TRUE : FLAG_FALSE,
        .version = coupon_flag_version(coupon, now_us),
    };
}
