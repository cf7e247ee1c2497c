/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/backends.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `states` */
static struct backend_state states[BACKENDS];

/* Lock held. */
static void leave(struct outage *outage) {
    if (outage->cause != BACKEND_NONE)
        states[outage->cause].n_failed--;
    outage->cause = BACKEND_NONE;
}

void backends_failed(struct outage *outage, const char *stage, const struct err *err) {
    pthread_mutex_lock(&lock);
    struct backend_state *state = &states[err->backend];
    if (outage->cause != (int)err->backend) {
        leave(outage);
        outage->cause = err->backend;
        if (state->n_failed++ == 0)
            state->since_us = clock_wall_us();
    }
    state->last_us = clock_wall_us();
    state->last_mono_us = clock_mono_us();
    snprintf(state->stage, sizeof state->stage, "%s", stage);
    snprintf(state->text, sizeof state->text, "%s", err->text);
    pthread_mutex_unlock(&lock);
}

void backends_recovered(struct outage *outage) {
    pthread_mutex_lock(&lock);
    leave(outage);
    pthread_mutex_unlock(&lock);
}

struct backend_state backends_read(enum backend backend) {
    pthread_mutex_lock(&lock);
    struct backend_state state = states[backend];
    pthread_mutex_unlock(&lock);
    return state;
}

static double n_failed(void *backend) {
    return backends_read((enum backend)(intptr_t)backend).n_failed;
}

void backends_register(void) {
    for (intptr_t backend = BACKEND_POSTGRES; backend < BACKENDS; backend++) {
        char labels[40];
        snprintf(labels, sizeof labels, "backend=\"%s\"", backend_name((enum backend)backend));
        metrics_gauge_fn("couponsd_stages_failed", "Stages whose last use of a backend has failed, by backend.", labels,
                         n_failed, (void *)backend);
    }
}
