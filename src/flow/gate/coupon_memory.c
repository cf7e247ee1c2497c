#include "flow/gate/coupon_memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pair_set.h"

/* Asked for by strangers, ids that don't exist would fill memory; past this many the memory starts afresh. */
#define ENTRIES_MAX 65536
/* A sold-out truth that Redis does not confirm is believed for so long; then admit is asked again. */
#define UNCONFIRMED_MAX_US US_PER_S

struct entry {
    int64_t coupon_id; /* 0: free */
    enum flag_value flag;
    int64_t flag_version, flag_us; /* flag_us 0: never asked */
    struct coupon_row truth;
    int64_t truth_us; /* 0: never read */
};

struct known {
    int64_t cache_us;
    pthread_mutex_t lock; /* guards all below */
    struct entry *entries;
    size_t mask, count;
    int64_t db_ahead_us; /* Postgres' wall clock less our monotonic one */
};

struct known *known_new(int64_t cache_ms) {
    struct known *known = calloc(1, sizeof *known);
    if (!known)
        abort();
    known->cache_us = cache_ms * US_PER_MS;
    known->mask = 255;
    known->entries = calloc(known->mask + 1, sizeof *known->entries);
    if (!known->entries)
        abort();
    pthread_mutex_init(&known->lock, NULL);
    return known;
}

void known_free(struct known *known) {
    if (!known)
        return;
    pthread_mutex_destroy(&known->lock);
    free(known->entries);
    free(known);
}

static struct entry *slot_of(struct entry *entries, size_t mask, int64_t coupon_id) {
    size_t at = hash_int64(coupon_id) & mask;
    while (entries[at].coupon_id && entries[at].coupon_id != coupon_id)
        at = (at + 1) & mask;
    return &entries[at];
}

static void make_room(struct known *known) {
    if (2 * (known->count + 1) <= known->mask)
        return;
    if (known->count >= ENTRIES_MAX) {
        memset(known->entries, 0, (known->mask + 1) * sizeof *known->entries);
        known->count = 0;
        return;
    }
    size_t mask = 2 * known->mask + 1;
    struct entry *entries = calloc(mask + 1, sizeof *entries);
    if (!entries)
        abort();
    for (size_t i = 0; i <= known->mask; i++)
        if (known->entries[i].coupon_id)
            *slot_of(entries, mask, known->entries[i].coupon_id) = known->entries[i];
    free(known->entries);
    known->entries = entries;
    known->mask = mask;
}

static struct entry *entry_of(struct known *known, int64_t coupon_id) {
    make_room(known);
    struct entry *entry = slot_of(known->entries, known->mask, coupon_id);
    if (!entry->coupon_id) {
        *entry = (struct entry){.coupon_id = coupon_id};
        known->count++;
    }
    return entry;
}

void known_learn(struct known *known, const struct coupon_row *rows, size_t n, int64_t now_us) {
    int64_t mono_us = clock_mono_us();
    pthread_mutex_lock(&known->lock);
    known->db_ahead_us = now_us - mono_us;
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = entry_of(known, rows[i].id);
        /* Of two readers the slower one may come last. */
        bool older = entry->truth_us && entry->truth.exists &&
                     (rows[i].version < entry->truth.version ||
                      (rows[i].version == entry->truth.version && rows[i].accepted < entry->truth.accepted));
        if (older)
            continue;
        entry->truth = rows[i];
        entry->truth_us = mono_us;
    }
    pthread_mutex_unlock(&known->lock);
}

void known_flags(struct known *known, const struct flag *flags, size_t n) {
    int64_t mono_us = clock_mono_us();
    pthread_mutex_lock(&known->lock);
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = entry_of(known, flags[i].coupon_id);
        entry->flag = flags[i].value;
        entry->flag_version = flags[i].version;
        entry->flag_us = mono_us;
    }
    pthread_mutex_unlock(&known->lock);
}

static enum judgement judge(const struct entry *entry, int64_t cache_us, int64_t mono_us, int64_t now_us,
                            enum refusal *ret_refusal) {
    if (!entry->flag_us || mono_us - entry->flag_us > cache_us)
        return JUDGE_ASK_FLAG;
    if (entry->truth_us) {
        const struct coupon_row *truth = &entry->truth;
        int64_t age_us = mono_us - entry->truth_us;
        int64_t truth_version = coupon_flag_version(truth, now_us);
        bool available = coupon_is_available(truth, now_us);
        enum refusal refusal = coupon_refusal(truth, now_us);
        bool confirmed = entry->flag == FLAG_FALSE && !available && entry->flag_version == truth_version;
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

enum judgement known_judge(struct known *known, int64_t coupon_id, enum refusal *ret_refusal,
                           struct coupon_row *ret_coupon) {
    int64_t mono_us = clock_mono_us();
    enum judgement judgement = JUDGE_ASK_FLAG;
    pthread_mutex_lock(&known->lock);
    const struct entry *entry = slot_of(known->entries, known->mask, coupon_id);
    if (entry->coupon_id) {
        judgement = judge(entry, known->cache_us, mono_us, mono_us + known->db_ahead_us, ret_refusal);
        if (judgement == JUDGE_REFUSED)
            *ret_coupon = entry->truth;
    }
    pthread_mutex_unlock(&known->lock);
    return judgement;
}

struct flag flag_of(const struct coupon_row *coupon, int64_t now_us) {
    return (struct flag){
        .coupon_id = coupon->id,
        .value = coupon_is_available(coupon, now_us) ? FLAG_TRUE : FLAG_FALSE,
        .version = coupon_flag_version(coupon, now_us),
    };
}
