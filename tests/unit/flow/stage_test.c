/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/stage.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

/* A stage whose batches wait until the test lets them go on. */
struct watched {
    sem_t begun, may_end;
    size_t sizes[100]; /* the sizes of the batches */
    int n_batches;
    intptr_t items[100], n_items;
};

static void run(void *arg, void **items, size_t n) {
    struct watched *watched = arg;
    watched->sizes[watched->n_batches++] = n;
    for (size_t i = 0; i < n; i++)
        watched->items[watched->n_items++] = (intptr_t)items[i];
    sem_post(&watched->begun);
    sem_wait(&watched->may_end);
}

static struct stage *start(struct watched *watched, size_t queue_size, size_t batch_max) {
    const struct stage_options options = {.queue_size = queue_size, .batch_max = batch_max};
    struct stage *stage;
    struct err err = {0};
    *watched = (struct watched){0};
    sem_init(&watched->begun, 0, 0);
    sem_init(&watched->may_end, 0, 0);
    cr_assert(stage_start("watched", &options, run, watched, &stage, &err), "%s", err.text);
    return stage;
}

static void push(struct stage *stage, intptr_t item) {
    cr_assert(stage_push(stage, (void *)item), "%d", (int)item);
}

Test(stage, what_waits_while_a_batch_runs_is_the_next_batch_in_order) {
    static struct watched watched;
    struct stage *stage = start(&watched, 50, 10);
    push(stage, 1);
    sem_wait(&watched.begun);
    for (intptr_t item = 2; item <= 15; item++)
        push(stage, item);
    cr_assert(stage_is_waited_for(stage));
    for (int i = 0; i < 3; i++)
        sem_post(&watched.may_end);
    stage_stop(stage);
    cr_assert_eq(watched.n_batches, 3);
    cr_assert_eq(watched.sizes[0], 1, "an idle stage does not wait for more");
    cr_assert_eq(watched.sizes[1], 10, "no batch is larger than its cap");
    cr_assert_eq(watched.sizes[2], 4);
    for (intptr_t i = 0; i < 15; i++)
        cr_assert_eq(watched.items[i], i + 1);
}

Test(stage, a_full_queue_takes_no_item_until_there_is_room) {
    static struct watched watched;
    struct stage *stage = start(&watched, 2, 10);
    push(stage, 1);
    sem_wait(&watched.begun);
    push(stage, 2);
    cr_assert(stage_has_room(stage));
    push(stage, 3);
    cr_assert_not(stage_has_room(stage));
    cr_assert_not(stage_push(stage, (void *)4));
    sem_post(&watched.may_end);
    sem_wait(&watched.begun);
    cr_assert_not(stage_is_waited_for(stage));
    push(stage, 5);
    sem_post(&watched.may_end);
    sem_post(&watched.may_end);
    stage_stop(stage);
    cr_assert_eq(watched.n_items, 4);
    cr_assert_eq(watched.items[3], 5);
}

Test(stage, stopping_works_off_what_waits) {
    static struct watched watched;
    struct stage *stage = start(&watched, 50, 1);
    for (intptr_t item = 1; item <= 20; item++) {
        push(stage, item);
        sem_post(&watched.may_end);
    }
    stage_stop(stage);
    cr_assert_eq(watched.n_items, 20);
    stage_stop(NULL);
}
