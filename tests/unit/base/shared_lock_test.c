/* SPDX-License-Identifier: Apache-2.0 */
/* Readers see what a writer has left, and never a half of it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/shared_lock.h"

#define READERS (2 * SHARED_LOCK_PARTS)
#define WRITERS 2
#define CHANGES 1000

static struct shared_lock lock;
static int first, second; /* equal, except while a writer works */
static atomic_bool is_over;

static void *read_often(void *arg) {
    atomic_int *n_wrong = arg;
    while (!atomic_load(&is_over)) {
        shared_lock_read(&lock);
        if (first != second)
            atomic_fetch_add(n_wrong, 1);
        shared_unlock_read(&lock);
    }
    return NULL;
}

static void *change_often(void *arg) {
    (void)arg;
    for (int i = 0; i < CHANGES; i++) {
        shared_lock_write(&lock);
        first++;
        second++;
        shared_unlock_write(&lock);
    }
    return NULL;
}

Test(shared_lock, readers_never_see_half_a_change) {
    pthread_t readers[READERS], writers[WRITERS];
    atomic_int n_wrong = 0;
    shared_lock_init(&lock);
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, read_often, &n_wrong), 0);
    for (int i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&writers[i], NULL, change_often, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    cr_assert_eq(n_wrong, 0);
    cr_assert_eq(first, WRITERS * CHANGES);
    shared_lock_deinit(&lock);
}
