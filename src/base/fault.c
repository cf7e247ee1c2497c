/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

/* All fault points: STEP.MOMENT. A relay's step is the name of its thread. */
static const char *const points[] = {
    "postgres.connected",
    "postgres.round_trip_sent",
    "admit.before_commit",
    "admit.after_commit",
    "admit.before_rollback",
    "admit.after_rollback",
    "admit.before_answers",
    "admit.amid_answers",
    "admit.after_answers",
    "relay_requested.lanes_taken",
    "relay_requested.before_produce",
    "relay_requested.after_produce",
    "relay_requested.before_ack",
    "relay_requested.after_ack",
    "relay_requested.before_cursor_commit",
    "relay_requested.after_cursor_commit",
    "relay_published.lanes_taken",
    "relay_published.before_produce",
    "relay_published.after_produce",
    "relay_published.before_ack",
    "relay_published.after_ack",
    "relay_published.before_cursor_commit",
    "relay_published.after_cursor_commit",
    "issue.before_assign",
    "issue.after_assign",
    "issue.before_reposition",
    "issue.after_reposition",
    "issue.before_commit",
    "issue.after_commit",
    "issue.before_dead_letter",
    "issue.after_dead_letter",
    "issue.before_offset_commit",
    "issue.after_offset_commit",
    "issue.offset_commit_confirmed",
    "complete.before_flag_write",
    "complete.after_flag_write",
    "complete.before_offset_commit",
    "complete.after_offset_commit",
    "complete.offset_commit_confirmed",
    "gate.before_flag_write",
    "gate.after_flag_write",
    "reconcile.before_flag_write",
    "reconcile.after_flag_write",
    "rotate.before_commit",
    "rotate.after_commit",
    "admin.before_commit",
    "admin.after_commit",
    "admin.before_flag_write",
    "admin.after_flag_write",
};
#define N_POINTS (sizeof points / sizeof points[0])
#define NONE     N_POINTS

static size_t armed = NONE;
static long armed_pass;
static atomic_long passes; /* how often threads have passed the armed point */

/* Prints without stdio, since another thread may hold stdio's lock and the process dies next. */
static void tell(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(EXIT_USAGE);
}

static size_t find(const char *step, size_t step_len, const char *moment, size_t moment_len) {
    for (size_t i = 0; i < N_POINTS; i++)
        if (strlen(points[i]) == step_len + 1 + moment_len && memcmp(points[i], step, step_len) == 0 &&
            points[i][step_len] == '.' && memcmp(points[i] + step_len + 1, moment, moment_len) == 0)
            return i;
    return NONE;
}

/* Reads COUPONSD_FAULT before main, so before any thread passes a point. */
__attribute__((constructor)) static void arm(void) {
    const char *text = getenv("COUPONSD_FAULT");
    if (!text || !*text)
        return;
    if (strcmp(text, "list") == 0) {
        for (size_t i = 0; i < N_POINTS; i++)
            puts(points[i]);
        exit(0);
    }
    const char *dot = strchr(text, '.'), *colon = strchr(text, ':');
    if (dot && colon && colon > dot) {
        armed = find(text, (size_t)(dot - text), dot + 1, (size_t)(colon - dot - 1));
        armed_pass = strtol(colon + 1, NULL, 10);
    }
    if (armed == NONE || armed_pass < 1) {
        tell("COUPONSD_FAULT: write POINT:PASS, or list\n");
        _exit(EXIT_USAGE);
    }
}

void fault_pass(const char *step, const char *moment) {
    size_t point = find(step, strlen(step), moment, strlen(moment));
    if (point == NONE)
        abort(); /* a defect: the table lacks this point */
    if (point != armed || atomic_fetch_add(&passes, 1) + 1 != armed_pass)
        return;
    char line[128];
    snprintf(line, sizeof line, "fault.died point=%s pass=%ld\n", points[point], armed_pass);
    tell(line);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
