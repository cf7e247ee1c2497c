/* Events that were put aside, for people to look at: what could not be decoded, or contradicts the ledger.
 *
 * Each is there once, by topic, partition, offset and value (another topic of the same name may have another message
 * there). Of a key or a value that is too long to be ours the beginning is kept, so that garbage costs little; how many
 * there are at most is the reconciler's to see to (dead_letters_trim). */
#pragma once

#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

/* Bytes kept. Our own events have less than 1 KiB (flow/events.h), our keys 20 bytes. */
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
/* Points into the message; `reason` must last as long. `coupon_id`: of the event, 0 where it can't be decoded; the key
 * is tried then. */
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
/* Up to `max` with ids above `after`, by id, without key and value; of this coupon, unless it is 0. In the arena. */
bool dead_letters_list(struct pg *pg, struct arena *arena, int64_t coupon_id, int64_t after, int max,
                       struct dead_letter *ret, size_t *ret_n, struct err *err);
bool dead_letters_get(struct pg *pg, struct arena *arena, int64_t id, bool *ret_found, struct dead_letter *ret,
                      struct err *err);
/* The ids there are from first to last, up to `max`, ascending. */
bool dead_letters_ids(struct pg *pg, struct arena *arena, int64_t first, int64_t last, int max, int64_t *ret,
                      size_t *ret_n, struct err *err);
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
