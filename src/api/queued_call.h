/* SPDX-License-Identifier: Apache-2.0 */
/* Queued calls: how the administrative services work. A service function validates its call on the poller's thread,
 * then queues it. One thread per service performs the calls one after the other, since each may wait for a backend.
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
    /* Does the work and answers, on the queue's thread, with a connection to Postgres. False: a backend failed, *err
     * says how, and the call is not answered yet. */
    bool (*perform)(void *service, void *call, struct err *err);
    bool may_repeat;   /* perform may be called again after a retriable failure that left it half done */
    int64_t coupon_id; /* for the log; 0: none */
};

/* A service's own struct of `size` bytes, zeroed but for its queued_call. From the service function only. */
void *queued_call_new(void *closure_data, size_t size, ProtobufCClosure closure,
                      bool (*perform)(void *service, void *call, struct err *err));
/* Refuses the call if fields are bad, or else queues it. The call must not be touched afterwards. */
void queued_call_enqueue(struct queued_call *call, struct call_queue *queue, const struct rpc_bad_fields *bad);
/* Answers with OK. */
void queued_call_answer(const struct queued_call *call, const ProtobufCMessage *response);

/* What a service hands over. All of it outlives the queue; only the queue's thread uses `pg` and `arena`. */
struct call_queue_options {
    const char *name;          /* of the stage: its thread's name, and the metrics' label */
    const char *failure_event; /* the log event of a failed backend */
    size_t size;               /* in calls; more are refused */
    size_t batch_max;          /* calls taken from the queue at once */
    bool bounds_silence;       /* give up in time for the client where Postgres is silent (request_silence_of_us) */
    void *service;             /* handed to perform */
    struct pg *pg;
    struct arena *arena; /* emptied after each call */
};

bool call_queue_start(const struct call_queue_options *options, struct call_queue **ret_queue, struct err *err);
/* Performs what is queued, then ends the thread. NULL is fine. */
void call_queue_stop(struct call_queue *queue);
