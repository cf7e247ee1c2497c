/* SPDX-License-Identifier: Apache-2.0 */
/* Events that issue and complete put aside for people to look at: they cannot be decoded, or contradict the ledger.
 *
 * A letter is identified by topic, partition, offset and value: another topic of the same name may have another message
 * at the same offset. Keys and values that are too long to be ours are cut, so that garbage costs little. The
 * reconciler limits how many letters there are (dead_letters_trim). */
#pragma once

#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

/* Bytes kept. Our own events have less than 1 KiB (model/event.h), our keys 20 bytes. */
#define DEAD_LETTER_KEY_MAX   256
#define DEAD_LETTER_VALUE_MAX 4096

/* --- putting aside; in an arena, as columns --- */

struct dead_letters {
    size_t n, max;
    struct arena *arena;
    /* Made with the first one: most batches have none. */
    struct kafka_place *place;
    int64_t *offset, *value_size, *coupon_id;
    struct pg_bytes *key, *value;
    const char **reason;
};
/* Room for `max`. */
void dead_letters_init(struct dead_letters *letters, struct arena *arena, size_t max);
/* Keeps pointers into the message, and to `reason`. `coupon_id`: of the event; 0 where it cannot be decoded, and the
 * key is tried. */
void dead_letters_put(struct dead_letters *letters, const struct kafka_message *message, int64_t coupon_id,
                      const char *reason);
/* Sends one statement. One that is there already stays as it is. */
void dead_letters_send_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters);
/* The same in a transaction of its own. */
bool dead_letters_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters, struct err *err);

/* --- looking after them --- */

struct dead_letter {
    int64_t id, offset, value_size, coupon_id; /* coupon_id 0: not known */
    int32_t partition;
    const char *topic, *reason;
    struct pg_bytes key, value;
    int64_t create_us, replay_us; /* replay_us INT64_MIN: not replayed */
};
struct dead_letter_page {
    int64_t coupon_id;           /* in; 0: letters of all coupons */
    int64_t after;               /* in: letters with a higher id */
    size_t room;                 /* in: of how many elements `letters` is */
    struct dead_letter *letters; /* its elements are filled, by id; strings are in the arena */
    size_t n;                    /* out: how many are */
};
/* Leaves key and value empty. */
bool dead_letters_list(struct pg *pg, struct arena *arena, struct dead_letter_page *page, struct err *err);
/* One letter, with key and value, in the arena. */
bool dead_letters_get(struct pg *pg, struct arena *arena, int64_t id, bool *ret_found, struct dead_letter *ret,
                      struct err *err);
struct dead_letter_ids {
    int64_t first, last; /* in */
    size_t room;         /* in: of how many elements `id` is */
    int64_t *id;         /* its elements are filled with the ids from first to last that exist, ascending */
    size_t n;            /* out: how many are */
};
bool dead_letters_ids(struct pg *pg, struct arena *arena, struct dead_letter_ids *ids, struct err *err);
struct dead_letter_replay {
    int64_t id;                       /* in */
    const struct outbox_event *event; /* in; NULL: there is nothing to send */
    bool first;                       /* out; false: it was marked before, and nothing was done */
};
/* Marks the letter as replayed, and in the same transaction appends the event to the outbox of the requested stream. */
bool dead_letters_replay(struct pg *pg, struct arena *arena, int lanes, struct dead_letter_replay *replay,
                         struct err *err);
/* Drops the letters with ids from first to last. *ret_n: how many there were. */
bool dead_letters_drop(struct pg *pg, struct arena *arena, int64_t first, int64_t last, int64_t *ret_n,
                       struct err *err);
/* Drops the oldest, so that at most `keep` stay; some thousands at a time. */
bool dead_letters_trim(struct pg *pg, struct arena *arena, int64_t keep, int64_t *ret_n, struct err *err);
