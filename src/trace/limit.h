/* SPDX-License-Identifier: Apache-2.0 */
/* Counts events of a second, up to a limit. Without a lock: any thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct trace_limit {
    uint32_t max_per_s;
    _Atomic uint64_t state; /* the second, and how many it has had */
};

/* `now_us` is of clock_mono_us. */
bool trace_limit_has_room(const struct trace_limit *limit, int64_t now_us);
/* Counts an event. Returns false if the second is full. */
bool trace_limit_take(struct trace_limit *limit, int64_t now_us);
