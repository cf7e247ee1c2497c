/* SPDX-License-Identifier: Apache-2.0 */
/* One lane of a relay: what was sent, and what Kafka has acknowledged. Pure, apart from the clock of its pause. Only
 * the relay's thread uses this.
 *
 *   cursor   the last id up to which Kafka has acknowledged everything; cursor_stored is its value in Postgres
 *   sent     the last id that was handed to the producer
 *   unacked  how many of the ids in (cursor, sent] are not acknowledged
 *   acked    which ids in (cursor, sent] are acknowledged; a ring of `window` flags
 *   version  the version of the shared topic that the lane publishes to
 *   generation
 *            counts how often the lane was taken or rewound; acknowledgements of an older generation are ignored */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "flow/relay/failures.h"

struct lane {
    bool own;
    uint16_t generation;
    int version;
    int64_t cursor, cursor_stored, sent, unacked;
    int64_t window; /* the greatest value of sent - cursor */
    int64_t probe;  /* the same after a failure, until Kafka takes the message that has failed */
    bool *acked;
    int64_t oldest_us; /* when the first event behind the cursor was appended, by Postgres; 0: unknown */
    int64_t moved_us;  /* when the cursor moved, or the first message behind it was sent; monotonic */
    /* A message that Kafka did not take. */
    struct relay_pause pause;
    int64_t failed_id; /* 0: none */
    bool has_failed;   /* since the producer was made */
    bool awaits_topic; /* the lane's next message needs a topic that is not there yet */
};

void lane_init(struct lane *lane, int64_t window, int64_t probe);
void lane_deinit(struct lane *lane);
/* The lane was taken, with this cursor, or lost. Acknowledgements of messages that are still in flight no longer count,
 * nor do they after a rewind. */
void lane_reset(struct lane *lane, bool own, int64_t cursor);
/* Goes back to the cursor. */
void lane_rewind(struct lane *lane);

/* A message's tag holds the lane's number, its generation and the low bits of the id in one word. */
uintptr_t lane_tag(int number, const struct lane *lane, int64_t id);
int lane_number_of_tag(uintptr_t tag);
/* Whether the tag's message is one that the lane waits for. */
bool lane_expects(const struct lane *lane, uintptr_t tag);

/* Whether the lane has room for another message. */
bool lane_has_room(const struct lane *lane);
/* A message with the next id was handed to the producer. */
void lane_sent(struct lane *lane, int64_t append_us, int64_t now_us);
/* Kafka has acknowledged the tag's message, or not taken it. */
void lane_acknowledged(struct lane *lane, uintptr_t tag, int64_t now_us);
void lane_failed(struct lane *lane, uintptr_t tag);

/* The topic that the lane awaits can't be created at present. The lane pauses as if its next message had failed. */
void lane_pause_for_topic(struct lane *lane);

/* A lane is stalled if its oldest message in flight is not acknowledged within a second, e.g. because a partition has
 * no leader. It is not read meanwhile, and does not keep the others waiting. */
bool lane_is_stalled(const struct lane *lane, int64_t now_us);

/* --- all lanes of a relay --- */

/* Messages in flight, except those of lanes that stand. */
int64_t lanes_moving(const struct lane *lanes, int n, int64_t now_us);
/* Messages of lanes that stand count as failed if Kafka has acknowledged others since (the last time at `acked_us`), or
 * if `is_full`: they leave no room for others. Kafka may still take them. Returns whether there are any. */
bool lanes_give_up(struct lane *lanes, int n, int64_t now_us, int64_t acked_us, bool is_full);
/* Whether a message has failed that Kafka has not taken since. */
bool lanes_have_failed(const struct lane *lanes, int n);
