/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/relay/lane.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define STALLED_US US_PER_S
/* Far fewer events are in flight than these bits can count, so id_of_tag finds the others. */
#define TAG_ID_BITS         40
#define TAG_GENERATION_BITS 16

void lane_init(struct lane *lane, int64_t window, int64_t probe) {
    *lane = (struct lane){.window = window, .probe = probe, .acked = memory_new((size_t)window, sizeof *lane->acked)};
}

void lane_deinit(struct lane *lane) {
    free(lane->acked);
}

void lane_reset(struct lane *lane, bool own, int64_t cursor) {
    lane->own = own;
    lane->cursor = lane->cursor_stored = cursor;
    lane_rewind(lane);
    lane->pause = (struct relay_pause){0};
    lane->failed_id = 0;
}

void lane_rewind(struct lane *lane) {
    lane->generation++;
    lane->sent = lane->cursor;
    lane->unacked = 0;
    lane->oldest_us = 0;
    lane->has_failed = false;
    lane->awaits_topic = false;
    memset(lane->acked, 0, (size_t)lane->window * sizeof *lane->acked);
}

uintptr_t lane_tag(int number, const struct lane *lane, int64_t id) {
    return (uintptr_t)((uint64_t)number << (TAG_ID_BITS + TAG_GENERATION_BITS) |
                       (uint64_t)lane->generation << TAG_ID_BITS | ((uint64_t)id & ((UINT64_C(1) << TAG_ID_BITS) - 1)));
}

int lane_number_of_tag(uintptr_t tag) {
    return (int)(tag >> (TAG_ID_BITS + TAG_GENERATION_BITS));
}

bool lane_expects(const struct lane *lane, uintptr_t tag) {
    return lane->own && (uint16_t)(tag >> TAG_ID_BITS) == lane->generation;
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
    return lane->sent - lane->cursor < (lane->failed_id ? lane->probe : lane->window);
}

void lane_sent(struct lane *lane, int64_t append_us, int64_t now_us) {
    if (!lane->oldest_us)
        lane->oldest_us = append_us;
    if (lane->sent == lane->cursor)
        lane->moved_us = now_us;
    lane->sent++;
    lane->unacked++;
}

void lane_acknowledged(struct lane *lane, uintptr_t tag, int64_t now_us) {
    *acked_slot(lane, id_of_tag(lane, tag)) = true;
    lane->unacked--;
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
void lane_failed(struct lane *lane, uintptr_t tag) {
    int64_t id = id_of_tag(lane, tag);
    if (!lane->has_failed || id < lane->failed_id)
        lane->failed_id = id;
    lane->has_failed = true;
}

void lane_pause_for_topic(struct lane *lane) {
    if (!lane->awaits_topic)
        return;
    if (!lane->failed_id)
        lane->failed_id = lane->sent + 1;
    relay_pause_begin(&lane->pause);
    lane->awaits_topic = false;
}

bool lane_is_stalled(const struct lane *lane, int64_t now_us) {
    return lane->own && lane->sent > lane->cursor && now_us - lane->moved_us >= STALLED_US;
}

int64_t lanes_moving(const struct lane *lanes, int n, int64_t now_us) {
    int64_t moving = 0;
    for (int i = 0; i < n; i++)
        moving += lane_is_stalled(&lanes[i], now_us) ? 0 : lanes[i].unacked;
    return moving;
}

bool lanes_give_up(struct lane *lanes, int n, int64_t now_us, int64_t acked_us, bool is_full) {
    bool any = false;
    for (int i = 0; i < n; i++) {
        struct lane *lane = &lanes[i];
        bool is_probed = lane->failed_id && lane->failed_id <= lane->sent;
        if (!lane_is_stalled(lane, now_us) || is_probed || (!is_full && acked_us - lane->moved_us < STALLED_US))
            continue;
        lane->failed_id = lane->cursor + 1;
        lane->has_failed = any = true;
    }
    return any;
}

bool lanes_have_failed(const struct lane *lanes, int n) {
    bool any = false;
    for (int i = 0; i < n && !any; i++)
        any = lanes[i].failed_id > 0;
    return any;
}
