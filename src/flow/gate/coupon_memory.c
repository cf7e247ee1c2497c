/* SPDX-License-Identifier: Apache-2.0 */
/* The coupon memory: a hash table by coupon id, with linear probing; see coupon_memory.h. */
#include "flow/gate/coupon_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ints.h"
#include "base/memory.h"
#include "base/shared_lock.h"

/* The greatest number of entries. Requests for ids that don't exist also make entries; when the table is full it is
 * emptied. */
#define ENTRIES_MAX 65536
/* How long a truth that is not available counts if Redis has its flag. Redis may refuse writes for a while, and another
 * process may have changed the coupon. */
#define CONFIRMED_MAX_US (2 * US_PER_S)
/* How long a truth that is not available counts while Redis still has an older flag. After that admit decides again. */
#define UNCONFIRMED_MAX_US US_PER_S

struct entry {
    int64_t coupon_id; /* 0: free */
    enum flag_value flag;
    int64_t flag_version, flag_us; /* flag_us 0: never read */
    struct coupon truth;
    int64_t truth_us; /* 0: never read */
};

struct coupon_memory {
    int64_t cache_us;
    struct shared_lock lock; /* guards the fields below */
    struct entry *entries;
    size_t mask, count;
    int64_t db_ahead_us; /* Postgres's wall clock minus our monotonic clock */
};

struct coupon_memory *coupon_memory_new(int64_t cache_ms) {
    struct coupon_memory *memory = memory_new(1, sizeof *memory);
    memory->cache_us = cache_ms * US_PER_MS;
    memory->mask = 255;
    memory->entries = memory_new(memory->mask + 1, sizeof *memory->entries);
    shared_lock_init(&memory->lock);
    return memory;
}

void coupon_memory_free(struct coupon_memory *memory) {
    if (!memory)
        return;
    shared_lock_deinit(&memory->lock);
    free(memory->entries);
    free(memory);
}

static struct entry *slot_of(struct entry *entries, size_t mask, int64_t coupon_id) {
    size_t at = hash_int64(coupon_id) & mask;
    while (entries[at].coupon_id && entries[at].coupon_id != coupon_id)
        at = (at + 1) & mask;
    return &entries[at];
}

static void make_room(struct coupon_memory *memory) {
    if (2 * (memory->count + 1) <= memory->mask)
        return;
    if (memory->count >= ENTRIES_MAX) {
        memset(memory->entries, 0, (memory->mask + 1) * sizeof *memory->entries);
        memory->count = 0;
        return;
    }
    size_t mask = 2 * memory->mask + 1;
    struct entry *entries = memory_new(mask + 1, sizeof *entries);
    for (size_t i = 0; i <= memory->mask; i++)
        if (memory->entries[i].coupon_id)
            *slot_of(entries, mask, memory->entries[i].coupon_id) = memory->entries[i];
    free(memory->entries);
    memory->entries = entries;
    memory->mask = mask;
}

static struct entry *entry_of(struct coupon_memory *memory, int64_t coupon_id) {
    make_room(memory);
    struct entry *entry = slot_of(memory->entries, memory->mask, coupon_id);
    if (!entry->coupon_id) {
        *entry = (struct entry){.coupon_id = coupon_id};
        memory->count++;
    }
    return entry;
}

void coupon_memory_learn(struct coupon_memory *memory, const struct coupon *rows, size_t n, int64_t now_us) {
    int64_t mono_us = clock_mono_us();
    shared_lock_write(&memory->lock);
    memory->db_ahead_us = now_us - mono_us;
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = entry_of(memory, rows[i].id);
        /* Skip rows that are older than the truth: a slow reader may be late. */
        bool older = entry->truth_us && entry->truth.exists &&
                     (rows[i].version < entry->truth.version ||
                      (rows[i].version == entry->truth.version && rows[i].accepted < entry->truth.accepted));
        if (older)
            continue;
        entry->truth = rows[i];
        entry->truth_us = mono_us;
    }
    shared_unlock_write(&memory->lock);
}

void coupon_memory_learn_flags(struct coupon_memory *memory, const struct flag *flags, size_t n) {
    int64_t mono_us = clock_mono_us();
    shared_lock_write(&memory->lock);
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = entry_of(memory, flags[i].coupon_id);
        entry->flag = flags[i].value;
        entry->flag_version = flags[i].version;
        entry->flag_us = mono_us;
    }
    shared_unlock_write(&memory->lock);
}

static enum judgement judge(const struct entry *entry, int64_t cache_us, int64_t mono_us, int64_t now_us,
                            enum refusal *ret_refusal) {
    if (!entry->flag_us || mono_us - entry->flag_us > cache_us)
        return JUDGE_ASK_FLAG;
    if (entry->truth_us) {
        const struct coupon *truth = &entry->truth;
        int64_t age_us = mono_us - entry->truth_us;
        int64_t truth_version = coupon_flag_version(truth, now_us);
        bool available = coupon_is_available(truth, now_us);
        enum refusal refusal = coupon_refusal(truth, now_us);
        bool confirmed = entry->flag == FLAG_FALSE && !available && entry->flag_version == truth_version &&
                         age_us <= CONFIRMED_MAX_US;
        bool newer = entry->flag == FLAG_TRUE && !available && entry->flag_version < truth_version &&
                     age_us <= UNCONFIRMED_MAX_US;
        bool not_open = entry->flag == FLAG_TRUE && refusal == REFUSAL_NOT_OPEN && entry->flag_version == truth_version;
        if (confirmed || newer || not_open || age_us <= cache_us) {
            *ret_refusal = refusal;
            return refusal == REFUSAL_NONE ? JUDGE_OPEN : JUDGE_REFUSED;
        }
    }
    return entry->flag == FLAG_TRUE ? JUDGE_OPEN : JUDGE_ASK_TRUTH;
}

enum judgement coupon_memory_judge(struct coupon_memory *memory, int64_t coupon_id, enum refusal *ret_refusal,
                                   struct coupon *ret_coupon) {
    int64_t mono_us = clock_mono_us();
    enum judgement judgement = JUDGE_ASK_FLAG;
    shared_lock_read(&memory->lock);
    const struct entry *entry = slot_of(memory->entries, memory->mask, coupon_id);
    if (entry->coupon_id) {
        judgement = judge(entry, memory->cache_us, mono_us, mono_us + memory->db_ahead_us, ret_refusal);
        if (judgement == JUDGE_REFUSED)
            *ret_coupon = entry->truth;
    }
    shared_unlock_read(&memory->lock);
    return judgement;
}
