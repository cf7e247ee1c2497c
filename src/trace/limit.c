/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/limit.h"

#include "base/clock.h"

/* The state is the number of the second in its high half, and the count in its low half. */
static uint64_t state_at(int64_t now_us, uint64_t state) {
    uint64_t second = (uint64_t)(now_us / US_PER_S) << 32;
    return state >> 32 == second >> 32 ? state : second;
}

bool trace_limit_has_room(const struct trace_limit *limit, int64_t now_us) {
    return (uint32_t)state_at(now_us, atomic_load(&limit->state)) < limit->max_per_s;
}

bool trace_limit_take(struct trace_limit *limit, int64_t now_us) {
    uint64_t before = atomic_load(&limit->state), state;
    do {
        state = state_at(now_us, before);
        if ((uint32_t)state >= limit->max_per_s)
            return false;
    } while (!atomic_compare_exchange_weak(&limit->state, &before, state + 1));
    return true;
}
