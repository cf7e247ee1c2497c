/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/read/holdings.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "flow/stage.h"
#include "store/lookup.h"

struct holdings {
    struct stage *stage;
    struct pg *pg;
    struct arena arena;
    struct outage outage;
};

static bool look_up(struct holdings *holdings, struct request *const *requests, size_t n, struct err *err) {
    struct user_coupon_page *pages = ARENA_ARRAY(&holdings->arena, struct user_coupon_page, n);
    for (size_t i = 0; i < n; i++) {
        /* One row more than requested shows whether another page follows. */
        size_t room = (size_t)requests[i]->page_size + 1;
        pages[i] = (struct user_coupon_page){
            .user_id = requests[i]->user_id,
            .after = requests[i]->page_after,
            .room = room,
            .statuses = ARENA_ARRAY(&holdings->arena, struct request_status, room),
        };
    }
    if (!pg_connect(holdings->pg, err) || !lookup_user_coupons(holdings->pg, &holdings->arena, pages, n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t max = pages[i].room - 1;
        request_end_page(requests[i], pages[i].statuses, pages[i].n > max ? max : pages[i].n, pages[i].n > max);
    }
    return true;
}

static void run(void *arg, void **items, size_t n) {
    struct holdings *holdings = arg;
    struct request *waiting[LOOKUP_PAGES_MAX];
    size_t n_waiting = request_drop_cancelled(items, n, waiting);
    struct err err;
    if (n_waiting == 0)
        return;
    pg_give_up_at(holdings->pg, request_silence_us(waiting, n_waiting));
    if (look_up(holdings, waiting, n_waiting, &err)) {
        stage_resumed(&holdings->outage, "holdings");
    } else {
        stage_interrupted(&holdings->outage, "holdings", &err);
        for (size_t i = 0; i < n_waiting; i++)
            request_fail(waiting[i], &err);
    }
    arena_reset(&holdings->arena);
}

bool holdings_start(struct context *context, struct holdings **ret_holdings, struct err *err) {
    const struct config *config = context->config;
    const struct stage_options options = {
        .queue_size = (size_t)config->flow_queue_size,
        .batch_max = LOOKUP_PAGES_MAX,
        .patience_us = config->flow_patience_ms * US_PER_MS,
    };
    struct holdings *holdings = memory_new(1, sizeof *holdings);
    holdings->pg = pg_new(&context->hot);
    arena_init(&holdings->arena, 64 * 1024);
    if (!stage_start("holdings", &options, run, holdings, &holdings->stage, err)) {
        holdings_stop(holdings);
        return false;
    }
    *ret_holdings = holdings;
    return true;
}

bool holdings_push(struct holdings *holdings, struct request *request) {
    return stage_push(holdings->stage, request);
}

void holdings_stop(struct holdings *holdings) {
    if (!holdings)
        return;
    stage_stop(holdings->stage);
    pg_free(holdings->pg);
    arena_deinit(&holdings->arena);
    free(holdings);
}
