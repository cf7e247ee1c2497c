/* SPDX-License-Identifier: Apache-2.0 */
/* WatchStatus: streams that follow a request to its final state. Issue and complete wake watch when they
 * learn that a ticket was issued or rejected; a poll of Postgres every watch.poll_ms finds whatever neither reported.
 * One thread with one connection does all the work. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct watch;

bool watch_start(struct context *context, struct watch **ret_watch, struct err *err);
/* Takes the request over. Refuses it if watch.max requests are watched already. Any thread. */
void watch_add(struct watch *watch, struct request *request);
/* Makes the thread look now, since something was issued or rejected. Any thread; cheap. */
void watch_wake(struct watch *watch);
/* Ends all streams with UNAVAILABLE, and new ones as they arrive. Any thread. */
void watch_end_all(struct watch *watch);
void watch_stop(struct watch *watch);
