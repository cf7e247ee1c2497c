/* SPDX-License-Identifier: Apache-2.0 */
/* A lock for data that many threads read all the time, and that seldom change. Each thread reads under a mutex that few
 * others use, so readers do not slow each other down. A writer takes all the mutexes. Not recursive. */
#pragma once

#include <pthread.h>

#define SHARED_LOCK_PARTS 8

struct shared_lock {
    struct shared_lock_part {
        pthread_mutex_t mutex;
        /* Two cache lines for each part: the mutexes share none, wherever the lock begins. */
        char apart[2 * 64 - sizeof(pthread_mutex_t)];
    } parts[SHARED_LOCK_PARTS];
};

void shared_lock_init(struct shared_lock *lock);
void shared_lock_deinit(struct shared_lock *lock);
/* The same thread unlocks. */
void shared_lock_read(struct shared_lock *lock);
void shared_unlock_read(struct shared_lock *lock);
void shared_lock_write(struct shared_lock *lock);
void shared_unlock_write(struct shared_lock *lock);
