/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"

static char name_seen[32];

static void *look(void *arg) {
    pthread_barrier_t *named = arg;
    pthread_barrier_wait(named);
    pthread_getname_np(pthread_self(), name_seen, sizeof name_seen);
    return name_seen;
}

static void expect_name(const char *name, const char *expected) {
    pthread_barrier_t named;
    pthread_t thread;
    struct err err = {0};
    void *result;
    pthread_barrier_init(&named, NULL, 2);
    cr_assert(thread_start(name, look, &named, &thread, &err), "%s", err.text);
    pthread_barrier_wait(&named);
    pthread_join(thread, &result);
    cr_assert_eq(result, name_seen, "the thread's result is its function's");
    cr_assert_str_eq(name_seen, expected);
    pthread_barrier_destroy(&named);
}

Test(thread, a_thread_has_its_name_or_the_first_15_bytes_of_it) {
    expect_name("issue", "issue");
    expect_name("ticket holders' loader", "ticket holders'");
}

Test(thread, a_thread_that_cannot_be_started_is_an_error_that_names_it) {
    pthread_attr_t attributes;
    pthread_t thread, before;
    struct err err = {0};
    memset(&thread, 0x5a, sizeof thread);
    before = thread;
    pthread_attr_init(&attributes);
    /* A stack of this size does not fit into the address space. */
    cr_assert_eq(pthread_attr_setstacksize(&attributes, (size_t)1 << 47), 0);
    cr_assert_eq(pthread_setattr_default_np(&attributes), 0);
    cr_assert_not(thread_start("issue", look, NULL, &thread, &err));
    cr_assert_eq(err.code, ERR_INTERNAL);
    cr_assert_eq(strncmp(err.text, "thread issue can't be started: ", 31), 0, "%s", err.text);
    cr_assert_eq(thread, before, "the thread's id is untouched");
    pthread_attr_destroy(&attributes);
}

Test(thread, a_wait_for_a_monotonic_condition_ends_at_its_time) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    thread_cond_init_monotonic(&cond);
    int64_t end_us = clock_mono_us() + 20 * US_PER_MS;
    const struct timespec end = clock_mono_timespec(end_us);
    pthread_mutex_lock(&lock);
    while (pthread_cond_timedwait(&cond, &lock, &end) != ETIMEDOUT)
        continue; /* woken for no reason */
    cr_expect_geq(clock_mono_us(), end_us);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}
