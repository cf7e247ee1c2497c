/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of each caller: calls per second, and calls in flight. Any thread. */
#pragma once

#include "rpc/rpc.h"
#include <stdint.h>

struct caller;
struct callers;
/* NULL if neither limit is set. */
struct callers *callers_new(const struct rpc_caller_limits *limits);
void callers_free(struct callers *callers);
/* Counts a call for the caller `key`. NULL: the call exceeds a limit. Otherwise it counts as in flight until
 * callers_leave. */
struct caller *callers_enter(struct callers *callers, uint64_t key, int64_t now_us);
void callers_leave(struct callers *callers, struct caller *caller);
