/* WatchStatus: streams that follow a request to its final state. issue tells at once what this process has issued; a
 * poll of Postgres every watch.poll_ms finds what other processes did. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct watch;

bool watch_start(struct context *context, struct watch **ret_watch, struct err *err);
/* Takes the request over, refusing it where too many are watched. Any thread. */
void watch_add(struct watch *watch, struct request *request);
/* Something was issued or rejected here: look now. Any thread; cheap. */
void watch_wake(struct watch *watch);
/* Ends all streams with UNAVAILABLE; new ones end at once. Any thread. */
void watch_end_all(struct watch *watch);
void watch_stop(struct watch *watch);
