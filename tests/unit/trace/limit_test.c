/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/limit.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "base/clock.h"

Test(trace_limit, takes_so_many_in_each_second_and_no_more) {
    struct trace_limit limit = {.max_per_s = 3};
    for (int64_t second = 7; second < 10; second++) {
        for (int i = 0; i < 3; i++) {
            cr_assert(trace_limit_has_room(&limit, second * US_PER_S + i));
            cr_assert(trace_limit_take(&limit, second * US_PER_S + i));
        }
        cr_expect_not(trace_limit_has_room(&limit, second * US_PER_S + 999999));
        cr_expect_not(trace_limit_take(&limit, second * US_PER_S + 999999));
    }
}

struct taker {
    struct trace_limit *limit;
    int taken;
};

static void *take(void *arg) {
    struct taker *taker = arg;
    for (int i = 0; i < 20000; i++)
        taker->taken += trace_limit_take(taker->limit, 5 * US_PER_S);
    return NULL;
}

Test(trace_limit, holds_for_all_threads_together) {
    struct trace_limit limit = {.max_per_s = 30000};
    struct taker takers[4];
    pthread_t threads[4];
    int taken = 0;
    for (int i = 0; i < 4; i++) {
        takers[i] = (struct taker){&limit, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, take, &takers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        taken += takers[i].taken;
    }
    cr_expect_eq(taken, 30000);
}
