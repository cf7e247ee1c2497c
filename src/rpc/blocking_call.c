/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_client_call_wait: a call that blocks its caller. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rpc/client.h"

struct waiting {
    struct rpc_client_call call; /* first: the closure gets a pointer to it */
    struct rpc_reader reader;
    struct rpc_status status; /* owned */
    pthread_mutex_t lock;     /* guards is_done */
    pthread_cond_t done;
    bool is_done;
};

static void on_message(const ProtobufCMessage *message, void *closure_data) {
    struct waiting *waiting = closure_data;
    if (waiting->reader.on_message)
        waiting->reader.on_message(message, waiting->reader.arg);
}

static void copy_status(const struct rpc_status *status, struct rpc_status *ret) {
    *ret = (struct rpc_status){.code = status->code, .message = memory_copy(status->message ? status->message : "")};
    void *details = status->details ? memory_new(status->details_len, 1) : NULL;
    if (details) {
        memcpy(details, status->details, status->details_len);
        ret->details = details;
        ret->details_len = status->details_len;
    }
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct waiting *waiting = (struct waiting *)call;
    pthread_mutex_lock(&waiting->lock);
    copy_status(status, &waiting->status);
    waiting->is_done = true;
    pthread_cond_signal(&waiting->done);
    pthread_mutex_unlock(&waiting->lock);
}

bool rpc_client_call_wait(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, int64_t timeout_ms,
                          const struct rpc_reader *reader, struct rpc_status *ret_status) {
    struct waiting waiting = {.call = {.timeout_ms = timeout_ms, .done = on_done}};
    if (reader)
        waiting.reader = *reader;
    pthread_mutex_init(&waiting.lock, NULL);
    pthread_cond_init(&waiting.done, NULL);
    service->invoke(service, index, input, on_message, &waiting.call);
    pthread_mutex_lock(&waiting.lock);
    while (!waiting.is_done)
        pthread_cond_wait(&waiting.done, &waiting.lock);
    pthread_mutex_unlock(&waiting.lock);
    pthread_cond_destroy(&waiting.done);
    pthread_mutex_destroy(&waiting.lock);
    bool ok = waiting.status.code == RPC_OK;
    if (!ok && ret_status)
        *ret_status = waiting.status;
    else
        rpc_status_deinit(&waiting.status);
    return ok;
}
