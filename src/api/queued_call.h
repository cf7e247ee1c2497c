/* SPDX-License-Identifier: Apache-2.0 */
/* Queued calls, by which the administrative services work. A service function validates its call on a poller's thread
 * and queues it. Each service has one thread, which performs the calls one by one, since each may wait for a backend.
 *
 *   queued_call  one call; lives in its rpc_call's memory, until the answer
 *   call_queue   the queue of one service, with its thread
 *
 * A call whose client no longer waits is dropped before it is performed. A full queue answers OVERLOADED. A failed
 * backend is logged and answered. */
#pragma once

#include "api/answer.h"
#include "base/arena.h"
#include "store/pg.h"

struct call_queue;

/* The first member of a service's own struct for a call. */
struct queued_call {
    struct rpc_call *rpc;
    ProtobufCClosure closure;
    /* Does the work and answers the call, on the queue's thread, with a connection to Postgres. Returns false without
     * an answer if a backend failed. */
    bool (*perform)(void *service, void *call, struct err *err);
    bool may_repeat;   /* perform may be called again after a retriable failure */
    int64_t coupon_id; /* that the call is about, which the log tells; 0: none or several */
};

/* Allocates a service's own struct of `size` bytes in the call's memory. The bytes after its queued_call are zeroed.
 * Only a service function may call this. */
void *queued_call_new(void *closure_data, size_t size, ProtobufCClosure closure,
                      bool (*perform)(void *service, void *call, struct err *err));
/* Refuses the call if it has bad fields, or else queues it. The caller must not use the call afterwards. */
void queued_call_enqueue(struct queued_call *call, struct call_queue *queue, const struct rpc_bad_fields *bad);
/* Answers with a response. */
void queued_call_answer(const struct queued_call *call, const ProtobufCMessage *response);

/* The pointers must outlive the queue. Only the queue's thread uses `pg` and `arena`. */
struct call_queue_options {
    const char *name;          /* the stage's name, which names its thread and labels its metrics */
    const char *failure_event; /* the log event of a failed backend */
    size_t size;               /* the greatest number of queued calls; others are refused */
    size_t batch_max;          /* calls taken from the queue at once */
    bool bounds_silence;       /* give up on a silent Postgres before the client's deadline (request_silence_of_us) */
    void *service;             /* an argument of perform */
    struct pg *pg;
    struct arena *arena; /* emptied after each call */
};

bool call_queue_start(const struct call_queue_options *options, struct call_queue **ret_queue, struct err *err);
/* Performs the queued calls, then ends the thread. NULL is fine. */
void call_queue_stop(struct call_queue *queue);
