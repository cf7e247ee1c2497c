/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/relay/lane.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define STANDS_US US_PER_S
/* How many messages a lane may have in flight after a failure, until Kafka takes them. */
#define PROBE 100
/* Far fewer events are in flight than these bits can count, so id_of_tag finds the others. */
#define TAG_ID_BITS    40
#define TAG_EPOCH_BITS 16

void lane_init(struct lane *lane, int64_t window) {
    *lane = (struct lane){.window = window, .acked = memory_new((size_t)window, sizeof *lane->acked)};
}

void lane_deinit(struct lane *lane) {
    free(lane->acked);
}

void lane_reset(struct lane *lane, bool own, int64_t cursor) {
    lane->own = own;
    lane->epoch++;
    lane->cursor = lane->cursor_stored = lane->sent = cursor;
    lane->oldest_us = 0;
    lane->has_failed = false;
    if (!own) {
        lane->pause = (struct relay_pause){0};
        lane->failed_id = 0;
    }
    memset(lane->acked, 0, (size_t)lane->window * sizeof *lane->acked);
}

uintptr_t lane_tag(int number, const struct lane *lane, int64_t id) {
    return (uintptr_t)((uint64_t)number << (TAG_ID_BITS + TAG_EPOCH_BITS) | (uint64_t)lane->epoch << TAG_ID_BITS |
                       ((uint64_t)id & ((UINT64_C(1) << TAG_ID_BITS) - 1)));
}

int lane_number_of_tag(uintptr_t tag) {
    return (int)(tag >> (TAG_ID_BITS + TAG_EPOCH_BITS));
}

bool lane_expects(const struct lane *lane, uintptr_t tag) {
    return lane->own && (uint16_t)(tag >> TAG_ID_BITS) == lane->epoch;
}

/* The id above the lane's cursor that has the tag's bits. */
static int64_t id_of_tag(const struct lane *lane, uintptr_t tag) {
    uint64_t cursor = (uint64_t)lane->cursor, mask = (UINT64_C(1) << TAG_ID_BITS) - 1;
    return (int64_t)(cursor + (((uint64_t)tag - cursor) & mask));
}

static bool *acked_slot(struct lane *lane, int64_t id) {
    return &lane->acked[id % lane->window];
}

bool lane_has_room(const struct lane *lane) {
    int64_t window = lane->pause.next_us && lane->window > PROBE ? PROBE : lane->window;
    return lane->sent - lane->cursor < window;
}

void lane_sent(struct lane *lane, int64_t append_us, int64_t now_us) {
    if (!lane->oldest_us)
        lane->oldest_us = append_us;
    if (lane->sent == lane->cursor)
        lane->moved_us = now_us;
    lane->sent++;
}

void lane_acknowledged(struct lane *lane, uintptr_t tag, int64_t now_us) {
    *acked_slot(lane, id_of_tag(lane, tag)) = true;
    while (lane->cursor < lane->sent && *acked_slot(lane, lane->cursor + 1)) {
        lane->cursor++;
        *acked_slot(lane, lane->cursor) = false;
        lane->oldest_us = 0;
        lane->moved_us = now_us;
    }
    if (lane->failed_id && lane->cursor >= lane->failed_id && !lane->has_failed) {
        lane->pause = (struct relay_pause){0};
        lane->failed_id = 0;
    }
}

/* The first failure counts: what follows in the lane cannot be sent without it. */
static void fail_from(struct lane *lane, int64_t id) {
    if (!lane->has_failed || id < lane->failed_id)
        lane->failed_id = id;
    lane->has_failed = true;
}

void lane_failed(struct lane *lane, uintptr_t tag) {
    fail_from(lane, id_of_tag(lane, tag));
}

void lane_give_up(struct lane *lane) {
    fail_from(lane, lane->cursor + 1);
}

bool lane_stands(const struct lane *lane, int64_t now_us) {
    return lane->own && lane->sent > lane->cursor && now_us - lane->moved_us >= STANDS_US;
}
