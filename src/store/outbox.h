/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox: an append-only log of events in Postgres for each stream and lane.
 *
 *   id        an event's number in its lane: 1, 2, 3, … without gaps, so a reader that finds n + 1 after n has missed
 *             nothing
 *   row       the events of one lane that were appended together, up to a page of Postgres
 *   head      a lane's last id; the transaction that appends moves it, and holds the lane's lock
 *   cursor    the last id of a lane that Kafka has acknowledged; the relay that owns the lane moves it
 *   segment   one of a stream's two tables. New rows go to the current segment, while the relay drains the other.
 *   rotation  truncates the drained segment and makes it the current one */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* --- appending, within the caller's transaction --- */

/* The heads of the lanes that a batch touches. outbox_read_lock fills `last_id` and `epoch`, and outbox_put moves
 * `last_id`. */
struct outbox_heads {
    size_t n;
    int32_t *lane; /* ascending */
    int64_t *last_id;
    int64_t *epoch; /* raised by a change of the lane's coupons that appends nothing */
};
/* Collects the distinct lanes of `coupon_ids`, ascending, with last_id and epoch 0. */
void outbox_heads_init(struct outbox_heads *heads, struct arena *arena, const int64_t *coupon_ids, size_t n, int lanes);

/* The rows that a batch appends; in an arena. */
struct outbox_row;
struct outbox_batch {
    struct arena *arena;
    struct outbox_heads *heads;
    size_t n_rows, n_events;
    struct outbox_row *first, **link; /* a list, in the order in which the rows were begun */
    struct outbox_row **open;         /* for each lane of the heads, the row that takes the lane's next event */
};
/* `heads` must have been read under the lanes' locks (outbox_read_lock). */
void outbox_batch_init(struct outbox_batch *batch, struct arena *arena, struct outbox_heads *heads);

/* An event to append. The bytes belong to the caller. */
struct outbox_event {
    int64_t coupon_id, ticket;
    struct pg_bytes payload;
    struct pg_bytes traceparent; /* len 0: none */
};
/* Copies the event and gives it the lane's next id. */
void outbox_put(struct outbox_batch *batch, int32_t lane, const struct outbox_event *event);

/* Sends two statements: the first takes the lanes' locks; the second reads the clock, the current segment and the
 * heads, and locks their rows. They are separate so that the second sees the commits that the first has waited for. */
#define OUTBOX_LOCK_STATEMENTS 2
void outbox_send_lock(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_heads *heads);
/* Reads the results of these two statements. */
void outbox_read_lock(PGresult *const *results, struct outbox_heads *heads, int *ret_segment, int64_t *ret_now_us);

/* The batch's rows as columns: arrays of n elements, in the batch's arena. */
struct outbox_columns {
    size_t n;
    int32_t *lane;
    int64_t *id, *first_id;
    struct pg_bytes *events;
};
struct outbox_columns outbox_columns(const struct outbox_batch *batch);

/* Sends two statements, which insert the rows into the segment and move the heads. */
#define OUTBOX_APPEND_STATEMENTS 2
void outbox_send_append(struct pg *pg, struct arena *arena, enum stream stream, int segment,
                        const struct outbox_batch *batch, int64_t now_us);

/* Sends a statement that raises the epochs of the lanes, and raises them in `heads` too. */
void outbox_send_raise_epoch(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_heads *heads);

/* Rebuilds the PublishRequested event of an accepted request from the ledger, in order to send it again. The bytes live
 * in the arena. */
struct outbox_event outbox_event_again(struct arena *arena, const struct request_status *request);

struct outbox_events {
    size_t n;
    const struct outbox_event *event;
};
/* Appends the events in a transaction of its own. */
bool outbox_append(struct pg *pg, struct arena *arena, enum stream stream, int lanes,
                   const struct outbox_events *events, struct err *err);

/* --- relaying, on the connection whose session locks own the lanes --- */

/* The lanes that a relay wants: arrays of n elements. */
struct outbox_lanes {
    size_t n;
    const int32_t *lane; /* in */
    bool *own;           /* out: whether this connection holds the lane's lock */
    int64_t *cursor;     /* out */
    int *version;        /* out: the version of the shared topic that the lane publishes to */
};
/* Tries to take each lane's lock, without waiting. The cursor and the version of a lane that another relay owns may
 * change at any time. */
bool outbox_take_lanes(struct pg *pg, enum stream stream, const struct outbox_lanes *lanes, struct err *err);

struct outbox_entry {
    int32_t lane;
    int64_t id, coupon_id, ticket;
    int64_t append_us;
    const char *traceparent;
    size_t traceparent_len; /* 0: none */
    const void *payload;
    size_t payload_len;
};
struct outbox_page {
    /* in */
    size_t n_lanes;
    const int32_t *lane;  /* n_lanes elements */
    const int64_t *after; /* n_lanes elements: only events with higher ids are read */
    int max_rows;         /* per lane and segment */
    /* out */
    struct outbox_entry *entries; /* in the arena; they point into `results` */
    size_t n;
    bool more; /* there may be more events */
    PGresult *results[2];
};
/* Reads events in the order of the given lanes, and by id within a lane. In each lane it stops at the first missing id.
 * On success the caller clears the page. */
bool outbox_read(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_page *page, struct err *err);
/* Frees the results, which invalidates the entries. */
void outbox_page_clear(struct outbox_page *page);

/* Cursors to store: arrays of n elements. */
struct outbox_cursors {
    size_t n;
    const int32_t *lane;
    const int64_t *last_id;
};
/* Moves cursors forward. The commit does not wait for the disk: if a crash loses it, the relay only sends events
 * again. */
bool outbox_move_cursors(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_cursors *cursors,
                         struct err *err);

/* What of all lanes Kafka has not acknowledged. */
struct outbox_lag {
    int64_t events;
    int64_t now_us; /* by Postgres, as is append_us */
};
bool outbox_lag(struct pg *pg, struct arena *arena, enum stream stream, int lanes, struct outbox_lag *ret,
                struct err *err);

/* What of one lane Kafka has not acknowledged. */
struct outbox_unsent {
    int64_t cursor, head; /* the ids of the last event acknowledged, and of the last one appended */
    int64_t oldest_us;    /* when the first event behind the cursor was appended; INT64_MAX: there is none */
};
bool outbox_unsent(struct pg *pg, struct arena *arena, enum stream stream, int32_t lane, struct outbox_unsent *ret,
                   struct err *err);

enum outbox_rotation {
    OUTBOX_NOT_DUE,
    OUTBOX_ROTATED,
    OUTBOX_LOCKED, /* another transaction holds the segment, e.g. that of a backup */
};

/* Rotates the segments. Does nothing if the last rotation was less than age_ms ago, if the cursors have not passed all
 * rows of the segment to truncate, or if the current segment is empty. If the segment is locked, the relay may wait for
 * up to 100 ms behind the attempt, so do not try again at once. */
bool outbox_rotate(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, enum outbox_rotation *ret,
                   struct err *err);
