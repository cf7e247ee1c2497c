/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shared_lock.h"

#include <stdatomic.h>

/* The part of this thread: threads take the parts in turn. */
static pthread_mutex_t *own_part(struct shared_lock *lock) {
    static atomic_uint next;
    static _Thread_local unsigned own; /* from 1 */
    if (own == 0)
        own = atomic_fetch_add(&next, 1) % SHARED_LOCK_PARTS + 1;
    return &lock->parts[own - 1].mutex;
}

void shared_lock_init(struct shared_lock *lock) {
    for (int i = 0; i < SHARED_LOCK_PARTS; i++)
        pthread_mutex_init(&lock->parts[i].mutex, NULL);
}

void shared_lock_deinit(struct shared_lock *lock) {
    for (int i = 0; i < SHARED_LOCK_PARTS; i++)
        pthread_mutex_destroy(&lock->parts[i].mutex);
}

void shared_lock_read(struct shared_lock *lock) {
    pthread_mutex_lock(own_part(lock));
}

void shared_unlock_read(struct shared_lock *lock) {
    pthread_mutex_unlock(own_part(lock));
}

void shared_lock_write(struct shared_lock *lock) {
    for (int i = 0; i < SHARED_LOCK_PARTS; i++)
        pthread_mutex_lock(&lock->parts[i].mutex);
}

void shared_unlock_write(struct shared_lock *lock) {
    for (int i = SHARED_LOCK_PARTS; i-- > 0;)
        pthread_mutex_unlock(&lock->parts[i].mutex);
}
