/* SPDX-License-Identifier: Apache-2.0 */
/* Time in microseconds. Monotonic time is for waiting and measuring, wall time for values that are stored or sent. Any
 * thread. */
#pragma once

#include <stdint.h>
#include <time.h>

#define US_PER_S  1000000
#define US_PER_MS 1000

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
int64_t clock_wall_us(void); /* CLOCK_REALTIME: since 1970-01-01 UTC */

/* Converts a monotonic time for pthread_cond_timedwait on a condition that uses CLOCK_MONOTONIC. */
struct timespec clock_mono_timespec(int64_t mono_us);
/* Sleeps. Returns early if a signal arrives. */
void clock_sleep_us(int64_t us);

/* Writes "2026-01-31T12:00:00.000001Z" and a NUL; returns `out`. */
char *clock_format(int64_t wall_us, char out[static 28]);
/* Parses RFC 3339: "2026-01-31T12:00:00Z", with or without a fraction, or with ±hh:mm. Returns false for any other
 * text. */
_Bool clock_parse(const char *text, int64_t *ret_wall_us);
