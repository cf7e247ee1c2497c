/* SPDX-License-Identifier: Apache-2.0 */
/* Time. Monotonic for waiting and measuring, wall for what is stored. Microseconds throughout. */
#pragma once

#include <stdint.h>
#include <time.h>

#define US_PER_S  1000000
#define US_PER_MS 1000

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
int64_t clock_wall_us(void); /* since 1970-01-01 UTC */

/* A clock_mono_us() time as pthread_cond_timedwait takes it, for a condition that waits by CLOCK_MONOTONIC. */
struct timespec clock_mono_timespec(int64_t mono_us);
/* May return sooner when a signal arrives. */
void clock_sleep_us(int64_t us);

/* Writes "2026-01-31T12:00:00.000001Z" and a NUL; returns `out`. */
char *clock_format(int64_t wall_us, char out[static 28]);
/* Reads RFC 3339 ("2026-01-31T12:00:00Z", with fraction, with ±hh:mm); false when it is not one. */
_Bool clock_parse(const char *text, int64_t *ret_wall_us);
