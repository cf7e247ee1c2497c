/* SPDX-License-Identifier: Apache-2.0 */
/* The shared protocol of the two echo servers: each prints "listening HOST:PORT", serves toy.v1.Toy/Echo until SIGTERM
 * or SIGINT, and then prints its allocations since SIGUSR1, and its calls, as a line of JSON. */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "rpc_allocations.h"

/* Both are couponsd's defaults. */
#define ECHO_STREAMS_MAX 10000

static _Atomic int64_t echo_calls; /* that have been answered */

static inline void echo_count(void) {
    atomic_fetch_add_explicit(&echo_calls, 1, memory_order_relaxed);
}

/* Call this before other threads start, so that they inherit the signal mask. */
static inline void echo_block_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Returns when the program should end. */
static inline void echo_serve(const sigset_t *set, const char *address) {
    printf("listening %s\n", address);
    fflush(stdout);
    int number;
    while (sigwait(set, &number) == 0 && number == SIGUSR1)
        allocations_count();
    struct allocations allocations = allocations_so_far();
    printf("{\"own\":%jd,\"all\":%jd,\"calls\":%jd}\n", (intmax_t)allocations.own, (intmax_t)allocations.all,
           (intmax_t)atomic_load(&echo_calls));
}
