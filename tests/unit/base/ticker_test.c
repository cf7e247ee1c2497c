/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ticker.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"

static sem_t ticked;
static atomic_int ticks;

static void tick(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
    sem_post(&ticked);
}

Test(ticker, it_ticks_again_and_again_until_it_is_stopped) {
    struct ticker *ticker;
    struct err err = {0};
    sem_init(&ticked, 0, 0);
    cr_assert(ticker_start("tick", US_PER_MS, tick, &ticks, &ticker, &err), "%s", err.text);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(sem_wait(&ticked), 0);
    ticker_stop(ticker);
    int then = atomic_load(&ticks);
    cr_assert_geq(then, 3);
    while (sem_trywait(&ticked) == 0)
        then--;
    cr_assert_eq(then, 3, "each tick came from the ticker, and none after the stop");
}

Test(ticker, stopping_does_not_wait_for_the_interval) {
    struct ticker *ticker;
    struct err err = {0};
    cr_assert(ticker_start("tick", INT64_C(3600) * US_PER_S, tick, &ticks, &ticker, &err), "%s", err.text);
    int64_t begin_us = clock_mono_us();
    ticker_stop(ticker);
    cr_assert_lt(clock_mono_us() - begin_us, INT64_C(60) * US_PER_S);
    cr_assert_eq(atomic_load(&ticks), 0, "the first tick comes after one interval");
    ticker_stop(NULL);
}
