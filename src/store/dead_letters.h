/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: events that issue and complete put aside for an administrator, because they can't be decoded or
 * contradict the ledger.
 *
 * A letter is identified by topic, partition, offset and value. The value counts because a topic may be deleted and
 * created again, with another message at the same offset. Keys and values that are longer than couponsd's own are cut,
 * so that garbage costs little. The reconciler limits the number of letters (dead_letters_trim). */
#pragma once

#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

/* The greatest lengths kept, in bytes. couponsd's own events have less than 1 KiB (model/event.h), its keys up to 20
 * bytes. */
#define DEAD_LETTER_KEY_MAX   256
#define DEAD_LETTER_VALUE_MAX 4096

/* --- putting aside --- */

/* Letters to add: arrays of `n` elements. */
struct dead_letters {
    size_t n, max;
    struct arena *arena;
    /* Allocated in the arena with the first letter, since most batches have none. */
    struct kafka_place *place;
    int64_t *offset, *value_size, *coupon_id;
    struct pg_bytes *key, *value;
    const char **reason;
};
/* Makes room for `max` letters. */
void dead_letters_init(struct dead_letters *letters, struct arena *arena, size_t max);
/* Adds a letter to the array. Keeps pointers into the message and to `reason`. `coupon_id` is the event's; if it is 0,
 * because the event can't be decoded, the id in the key is used. */
void dead_letters_put(struct dead_letters *letters, const struct kafka_message *message, int64_t coupon_id,
                      const char *reason);
/* Sends one statement, which inserts the letters. A letter that exists stays as it is. */
void dead_letters_send_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters);
/* Inserts the letters in a transaction of their own. */
bool dead_letters_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters, struct err *err);

/* --- administration --- */

struct dead_letter {
    int64_t id, offset;
    int64_t value_size; /* bytes in Kafka; `value` has fewer if it was cut */
    int64_t coupon_id;  /* 0: unknown */
    int32_t partition;
    const char *topic, *reason;
    struct pg_bytes key, value;
    int64_t create_us, replay_us; /* replay_us INT64_MIN: not replayed */
};
struct dead_letter_page {
    int64_t coupon_id;           /* in; 0: letters of all coupons */
    int64_t after;               /* in: letters with a higher id are listed */
    size_t room;                 /* in: the number of elements of `letters` */
    struct dead_letter *letters; /* filled, in the order of ids; strings live in the arena */
    size_t n;                    /* out: the number of letters filled */
};
/* Lists letters without their keys and values. */
bool dead_letters_list(struct pg *pg, struct arena *arena, struct dead_letter_page *page, struct err *err);
/* Reads one letter with its key and value, which live in the arena. */
bool dead_letters_get(struct pg *pg, struct arena *arena, int64_t id, bool *ret_found, struct dead_letter *ret,
                      struct err *err);
struct dead_letter_ids {
    int64_t first, last; /* in */
    size_t room;         /* in: the number of elements of `id` */
    int64_t *id;         /* filled with the ids from first to last that exist, ascending */
    size_t n;            /* out: the number of ids filled */
};
bool dead_letters_ids(struct pg *pg, struct arena *arena, struct dead_letter_ids *ids, struct err *err);
struct dead_letter_replay {
    int64_t id;                       /* in */
    const struct outbox_event *event; /* in; NULL: only mark the letter */
    bool first;                       /* out; false: the letter was marked before, and nothing was done */
};
/* Marks the letter as replayed, and appends the event to the outbox of the requested stream in the same transaction. */
bool dead_letters_replay(struct pg *pg, struct arena *arena, int lanes, struct dead_letter_replay *replay,
                         struct err *err);
/* Drops the letters with ids from first to last. *ret_n: the number of letters dropped. */
bool dead_letters_drop(struct pg *pg, struct arena *arena, int64_t first, int64_t last, int64_t *ret_n,
                       struct err *err);
/* Drops the oldest letters, so that at most `keep` stay. A call drops about 20,000 letters at most. *ret_n: the number
 * of letters dropped. */
bool dead_letters_trim(struct pg *pg, struct arena *arena, int64_t keep, int64_t *ret_n, struct err *err);
