/* SPDX-License-Identifier: Apache-2.0 */
/* `hearts.lock` guards the list of all hearts. A thread marks its own heart without a lock. */
#include "base/heart.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"

struct heart {
    struct heart *next;
    const char *name;
    _Atomic int64_t since_us; /* when the piece of work began; 0: the thread waits */
};

static _Thread_local struct heart *own; /* that of the thread's piece of work; NULL: it waits */

static struct {
    pthread_mutex_t lock;
    struct heart *first;
} hearts = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct heart *heart_new(const char *name) {
    struct heart *heart = memory_new(1, sizeof *heart);
    heart->name = name;
    pthread_mutex_lock(&hearts.lock);
    heart->next = hearts.first;
    hearts.first = heart;
    pthread_mutex_unlock(&hearts.lock);
    return heart;
}

void heart_free(struct heart *heart) {
    if (!heart)
        return;
    pthread_mutex_lock(&hearts.lock);
    struct heart **link = &hearts.first;
    while (*link != heart)
        link = &(*link)->next;
    *link = heart->next;
    own = own == heart ? NULL : own;
    pthread_mutex_unlock(&hearts.lock);
    free(heart);
}

void heart_work(struct heart *heart) {
    own = heart;
    heart_beat();
}

void heart_beat(void) {
    if (own)
        atomic_store_explicit(&own->since_us, clock_mono_us(), memory_order_relaxed);
}

void heart_rest(struct heart *heart) {
    own = NULL;
    if (heart)
        atomic_store_explicit(&heart->since_us, 0, memory_order_relaxed);
}

int64_t hearts_longest(const char **ret_name) {
    int64_t now_us = clock_mono_us(), longest_us = 0;
    pthread_mutex_lock(&hearts.lock);
    for (const struct heart *heart = hearts.first; heart; heart = heart->next) {
        int64_t since_us = atomic_load_explicit(&heart->since_us, memory_order_relaxed);
        if (since_us == 0 || now_us - since_us <= longest_us)
            continue;
        longest_us = now_us - since_us;
        *ret_name = heart->name;
    }
    pthread_mutex_unlock(&hearts.lock);
    return longest_us;
}
