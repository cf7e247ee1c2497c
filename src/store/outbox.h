/* The outbox: per stream and lane an append-only log of events in Postgres, in two segments (tables) that take turns.
 *
 *   id       of an event: 1, 2, 3, … in its lane, without gaps
 *   row      events that were appended together: as many of a lane as fit in a page, so that an event costs its bytes
 *   head     the last id given in a lane; moved by the transaction that appends, which holds the lane's lock
 *   cursor   the last id that Kafka has acknowledged; moved by the relay that owns the lane
 *   segment  which of the two tables new rows go to; the other is drained, then truncated
 *
 * Ids are given without gaps, so a reader that finds id n+1 after n has missed nothing. */
#pragma once

#include "store/pg.h"
#include "model/coupon.h"

/* --- appending: within the caller's transaction, which holds the lanes' locks --- */

/* The heads of the lanes that a batch touches. `last_id` is read, then moved by the caller for each row it appends. */
struct outbox_heads {
    size_t n;
    int32_t *lane; /* ascending */
    int64_t *last_id;
    int64_t *epoch; /* raised by whoever changes coupons of the lane without appending */
};
/* The distinct lanes of `coupon_ids`, ascending; last_id and epoch zeroed. */
void outbox_heads_init(struct outbox_heads *heads, struct arena *arena, const int64_t *coupon_ids, size_t n, int lanes);

/* What a batch appends; in an arena. */
struct outbox_row;
struct outbox_batch {
    struct arena *arena;
    struct outbox_heads *heads;
    size_t n_rows, n_events;
    struct outbox_row *first, **link; /* in the order they were begun */
    struct outbox_row **open;         /* of each lane of the heads: the one that takes its next event */
};
/* `heads` as read under the lock: they are moved by what is put. */
void outbox_batch_init(struct outbox_batch *batch, struct arena *arena, struct outbox_heads *heads);
/* Copies. The event gets its lane's next id. `traceparent` of length 0: none. */
void outbox_put(struct outbox_batch *batch, int32_t lane, int64_t coupon_id, int64_t ticket, const char *traceparent,
                size_t traceparent_len, const void *payload, size_t payload_len);

/* Sends two statements: taking the lanes' locks, and (a statement of its own, so that it sees what the lock waited for)
 * reading clock, segment and heads. */
#define OUTBOX_LOCK_STATEMENTS 2
void outbox_send_lock(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_heads *heads);
/* Reads the results of these two. */
void outbox_read_lock(PGresult *const *results, struct outbox_heads *heads, int *ret_segment, int64_t *ret_now_us);

/* Sends two statements: the rows into the segment, and the heads. */
#define OUTBOX_APPEND_STATEMENTS 2
void outbox_send_append(struct pg *pg, struct arena *arena, enum stream stream, int segment,
                        const struct outbox_batch *batch, int64_t now_us);

/* Sends a statement that raises the epochs, also in `heads`. */
void outbox_send_raise_epoch(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_heads *heads);

/* An event that is yet to be put. */
struct outbox_event {
    int64_t coupon_id, ticket;
    struct pg_bytes payload;
};
/* The PublishRequested event of an accepted request as the ledger has it, for sending it once more; in the arena. */
struct outbox_event outbox_event_again(struct arena *arena, const struct request_status *request);
/* These events in a transaction of their own. */
bool outbox_append(struct pg *pg, struct arena *arena, enum stream stream, int lanes, const struct outbox_event *events,
                   size_t n, struct err *err);

/* --- relaying: on a connection that holds the lane's session lock --- */

/* Tries to take the relay's lock of each lane in `lanes`; sets own[i] and, where taken, cursor[i] and version[i], the
 * version of the shared topic that the lane publishes to. */
bool outbox_take_lanes(struct pg *pg, enum stream stream, const int32_t *lanes, size_t n, bool *ret_own,
                       int64_t *ret_cursor, int *ret_version, struct err *err);

struct outbox_entry {
    int32_t lane;
    int64_t id, coupon_id, ticket;
    int64_t append_us;
    const char *traceparent;
    size_t traceparent_len; /* 0: there is none */
    const void *payload;
    size_t payload_len;
};
/* The events of up to `max_rows` rows of each lane behind after[i], by lane in the order given, then id; only as far as
 * ids follow one another. *ret_more: there may be more than that. The entries point into *ret_results, which the caller
 * frees with pg_clear(ret_results, 2). */
bool outbox_read(struct pg *pg, struct arena *arena, enum stream stream, const int32_t *lanes, const int64_t *after,
                 size_t n, int max_rows, struct outbox_entry **ret_entries, size_t *ret_n, bool *ret_more,
                 PGresult **ret_results, struct err *err);
/* Moves cursors. Without waiting for the disk: a cursor lost in a crash only means sending again. */
bool outbox_move_cursors(struct pg *pg, struct arena *arena, enum stream stream, const int32_t *lanes,
                         const int64_t *last_ids, size_t n, struct err *err);

/* Events not yet acknowledged, in all lanes. */
bool outbox_lag(struct pg *pg, struct arena *arena, enum stream stream, int64_t *ret_events, struct err *err);

/* Lets the segments take turns, if they have not for `age_ms` and the one to be written next holds nothing that a
 * cursor has not passed: truncates it and points new rows to it. *ret_rotated says whether it did. */
bool outbox_rotate(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, bool *ret_rotated,
                   struct err *err);
