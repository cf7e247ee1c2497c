/* SPDX-License-Identifier: Apache-2.0 */
/* Which backends have failed the stages, and how. A stage that has no work does not ask its backend, so it does not
 * notice that the backend is back: see last_us. Process-wide; any thread. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/outage.h"

#define BACKENDS (BACKEND_KAFKA + 1)

struct backend_state {
    int n_failed;         /* stages whose last use of the backend has failed */
    int64_t since_us;     /* by clock_wall_us: since when there are any */
    int64_t last_us;      /* by clock_wall_us: the last failure; 0: none yet */
    int64_t last_mono_us; /* the same by clock_mono_us */
    char stage[32];       /* of the last failure */
    char text[400];       /* of its error */
};

/* For stage.c: the stage's outage has begun, or goes on. */
void backends_failed(struct outage *outage, const char *stage, const struct err *err);
/* For stage.c: the outage is over. */
void backends_recovered(struct outage *outage);
struct backend_state backends_read(enum backend backend);
/* Registers the metric couponsd_stages_failed. */
void backends_register(void);
