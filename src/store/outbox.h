/* SPDX-License-Identifier: Apache-2.0 */
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

#include "model/coupon.h"
#include "store/pg.h"

/* --- appending: within the caller's transaction, which holds the lanes' locks --- */

/* The heads of the lanes that a batch touches. outbox_read_lock fills `last_id` and `epoch`, and outbox_put moves
 * `last_id`. */
struct outbox_heads {
    size_t n;
    int32_t *lane; /* ascending */
    int64_t *last_id;
    int64_t *epoch; /* raised by a change of the lane's coupons that appends nothing */
};
/* The distinct lanes of `coupon_ids`, ascending; last_id and epoch are 0. */
void outbox_heads_init(struct outbox_heads *heads, struct arena *arena, const int64_t *coupon_ids, size_t n, int lanes);

/* The rows that a batch appends; in an arena. */
struct outbox_row;
struct outbox_batch {
    struct arena *arena;
    struct outbox_heads *heads;
    size_t n_rows, n_events;
    struct outbox_row *first, **link; /* in the order they were begun */
    struct outbox_row **open;         /* for each lane of the heads, the row that takes the lane's next event */
};
/* `heads` must have been read under the lock. */
void outbox_batch_init(struct outbox_batch *batch, struct arena *arena, struct outbox_heads *heads);

/* An event to append. The bytes belong to the caller. */
struct outbox_event {
    int64_t coupon_id, ticket;
    struct pg_bytes payload;
    struct pg_bytes traceparent; /* len 0: there is none */
};
/* Copies the event and gives it its lane's next id. */
void outbox_put(struct outbox_batch *batch, int32_t lane, const struct outbox_event *event);

/* Sends two statements: the first takes the lanes' locks; the second reads clock, segment and heads. They are separate
 * so that the second sees the commits that the first has waited for. */
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

/* The PublishRequested event of an accepted request, rebuilt from the ledger to be sent once more; in the arena. */
struct outbox_event outbox_event_again(struct arena *arena, const struct request_status *request);

struct outbox_events {
    size_t n;
    const struct outbox_event *event;
};
/* Appends the events in a transaction of their own. */
bool outbox_append(struct pg *pg, struct arena *arena, enum stream stream, int lanes,
                   const struct outbox_events *events, struct err *err);

/* --- relaying: on a connection that holds the lane's session lock --- */

/* Arrays of n elements, one for each lane that a relay asks for. */
struct outbox_lanes {
    size_t n;
    const int32_t *lane; /* in */
    bool *own;           /* out: this connection holds the lane's lock */
    int64_t *cursor;     /* out: where the lane's relay goes on */
    int *version;        /* out: the version of the shared topic that the lane publishes to */
};
/* Tries to take the relay's lock of each lane. Does not wait for a lane that another relay owns; its cursor and version
 * may change at any time. */
bool outbox_take_lanes(struct pg *pg, enum stream stream, const struct outbox_lanes *lanes, struct err *err);

struct outbox_entry {
    int32_t lane;
    int64_t id, coupon_id, ticket;
    int64_t append_us;
    const char *traceparent;
    size_t traceparent_len; /* 0: there is none */
    const void *payload;
    size_t payload_len;
};
struct outbox_page {
    /* in */
    size_t n_lanes;
    const int32_t *lane;  /* of n_lanes elements */
    const int64_t *after; /* of n_lanes elements: read begins behind this id */
    int max_rows;         /* of each lane, in each segment */
    /* out */
    struct outbox_entry *entries; /* in the arena; they point into `results` */
    size_t n;
    bool more; /* there may be more than was read */
    PGresult *results[2];
};
/* Reads events by lane, in the order given, then by id. Stops in a lane where an id is missing. On success the caller
 * clears the page. */
bool outbox_read(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_page *page, struct err *err);
/* Frees the results. The entries are invalid from then on. */
void outbox_page_clear(struct outbox_page *page);

/* Arrays of n elements: the last id of each lane that Kafka has acknowledged. */
struct outbox_cursors {
    size_t n;
    const int32_t *lane;
    const int64_t *last_id;
};
/* Moves cursors forward. The commit does not wait for the disk: a cursor that is lost in a crash only means that events
 * are sent again. */
bool outbox_move_cursors(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_cursors *cursors,
                         struct err *err);

/* Events not yet acknowledged, in all lanes. */
bool outbox_lag(struct pg *pg, struct arena *arena, enum stream stream, int64_t *ret_events, struct err *err);

/* Lets the segments take turns: truncates the drained one and points new rows to it. Does nothing where the last turn
 * was less than `age_ms` ago, or where a cursor has not passed all rows of that segment. *ret_rotated: whether they
 * took turns. */
bool outbox_rotate(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, bool *ret_rotated,
                   struct err *err);
