/* SPDX-License-Identifier: Apache-2.0 */
/* Shows whether threads make progress. A thread that requests depend on has a heart. It says when it begins a piece of
 * work, such as a batch, and when it waits for the next one. A piece that takes far longer than all time-outs together
 * is a sign of a defect. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct heart;

/* `name` names the thread's work, e.g. "admit"; it must outlive the heart. Any thread. */
struct heart *heart_new(const char *name);
/* The thread must have ended. NULL is fine. */
void heart_free(struct heart *heart);

/* The thread begins a piece of work, or waits for one. One thread at a time per heart; does nothing for NULL. */
void heart_work(struct heart *heart);
void heart_rest(struct heart *heart);

/* The calling thread's piece of work goes on, and its time starts again. For a loop with a limit of its own. Does
 * nothing for a thread without a heart. Any thread. */
void heart_beat(void);

/* Looks for the piece of work that has taken longest. Returns how long, in us, and gives the heart's name; 0 if all
 * rest. Any thread. */
int64_t hearts_longest(const char **ret_name);
