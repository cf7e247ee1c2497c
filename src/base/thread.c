/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <string.h>
#include <time.h>

bool thread_start(const char *name, void *(*run)(void *arg), void *arg, pthread_t *ret_thread, struct err *err) {
    pthread_t thread;
    int why = pthread_create(&thread, NULL, run, arg);
    if (why != 0)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "thread %s can't be started: %s", name, strerror(why));
    char short_name[16] = "";
    strncpy(short_name, name, sizeof short_name - 1);
    pthread_setname_np(thread, short_name);
    *ret_thread = thread;
    return true;
}

void thread_cond_init_monotonic(pthread_cond_t *cond) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}
