/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons; see reason.h. */
#include "model/reason.h"

#include <string.h>

#include "base/rpc_code.h"

/* A restarted couponsd or backend usually serves again within a second. */
#define RETRY_AFTER_MS 1000

static const struct reason_info reasons[REASONS] = {
    [REASON_SOLD_OUT] = {.name = "SOLD_OUT",
                         .code = RPC_FAILED_PRECONDITION,
                         .text = "coupon {coupon_id} is sold out",
                         .metadata = "coupon_id",
                         .hint = "couponctl add ID N adds to its quantity"},
    [REASON_NOT_OPEN] = {.name = "NOT_OPEN",
                         .code = RPC_FAILED_PRECONDITION,
                         .text = "coupon {coupon_id} has not opened yet",
                         .metadata = "coupon_id, open_time",
                         .hint = "wait until open_time"},
    [REASON_PAUSED] = {.name = "PAUSED",
                       .code = RPC_FAILED_PRECONDITION,
                       .text = "coupon {coupon_id} is paused",
                       .metadata = "coupon_id",
                       .hint = "couponctl resume ID opens it again"},
    [REASON_CLOSED] = {.name = "CLOSED",
                       .code = RPC_FAILED_PRECONDITION,
                       .text = "coupon {coupon_id} is closed",
                       .metadata = "coupon_id",
                       .hint = "a closed coupon is never opened again: create another"},
    [REASON_EXPIRED] = {.name = "EXPIRED",
                        .code = RPC_FAILED_PRECONDITION,
                        .text = "coupon {coupon_id} has expired",
                        .metadata = "coupon_id",
                        .hint = "an expired coupon is never opened again: create another"},
    [REASON_ALREADY_REQUESTED] =
        {.name = "ALREADY_REQUESTED",
         .code = RPC_ALREADY_EXISTS,
         .text = "this user has requested this coupon before, under another request_id or under none",
         .metadata = "coupon_id, ticket, state",
         .hint = "couponctl status COUPON USER shows the state of that request"},
    [REASON_COUPON_NOT_FOUND] = {.name = "COUPON_NOT_FOUND",
                                 .code = RPC_NOT_FOUND,
                                 .text = "there is no coupon {coupon_id}",
                                 .metadata = "coupon_id",
                                 .hint = "couponctl list shows those that exist"},
    [REASON_REQUEST_NOT_FOUND] = {.name = "REQUEST_NOT_FOUND",
                                  .code = RPC_NOT_FOUND,
                                  .text = "this user has no accepted request for this coupon",
                                  .metadata = "coupon_id, user_id",
                                  .hint = "couponctl request COUPON USER asks for it"},
    [REASON_INVALID_FIELD] = {.name = "INVALID_FIELD",
                              .code = RPC_INVALID_ARGUMENT,
                              .text = "fields of the request are wrong; BadRequest names each of them",
                              .metadata = "",
                              .hint = "correct the fields named above"},
    [REASON_OVERLOADED] =
        {.name = "OVERLOADED",
         .code = RPC_RESOURCE_EXHAUSTED,
         .retry_after_ms = RETRY_AFTER_MS,
         .text = "this server has too many waiting requests, or this caller sends too many: try again later",
         .metadata = "",
         .hint = "try again, or let request --retry do it"},
    [REASON_BACKEND_UNAVAILABLE] = {.name = "BACKEND_UNAVAILABLE",
                                    .code = RPC_UNAVAILABLE,
                                    .retry_after_ms = RETRY_AFTER_MS,
                                    .text = "{backend} can't be reached: try again",
                                    .metadata = "backend",
                                    .hint = "couponsd runs, but a server behind it does not answer: its log and "
                                            "/readyz say more"},
    [REASON_PERMISSION] = {.name = "PERMISSION",
                           .code = RPC_PERMISSION_DENIED,
                           .other_code = RPC_UNAUTHENTICATED,
                           .text = "no role of this caller may call this method, or (UNAUTHENTICATED) its credentials "
                                   "are missing or unknown",
                           .metadata = "",
                           .hint =
                               "--token-file FILE or --cert FILE identifies you; the administrator of couponsd gives "
                               "roles"},
    [REASON_COUPON_EXISTS] = {.name = "COUPON_EXISTS",
                              .code = RPC_ALREADY_EXISTS,
                              .text = "a coupon with this id exists: choose another id, or 0 to get a free one",
                              .metadata = "coupon_id",
                              .hint = "couponctl get ID shows the coupon that exists"},
    [REASON_STOPPING] = {.name = "STOPPING",
                         .code = RPC_UNAVAILABLE,
                         .retry_after_ms = RETRY_AFTER_MS,
                         .text = "the server is stopping: connect again",
                         .metadata = "",
                         .hint = "couponsd is stopping: try again when it runs, or name another one with --server"},
    [REASON_INTERNAL] = {.name = "INTERNAL",
                         .code = RPC_INTERNAL,
                         .text = "a server behind couponsd refused the operation",
                         .metadata = "",
                         .hint = "the log of couponsd says what went wrong"},
    [REASON_TOPIC_NOT_FOUND] = {.name = "TOPIC_NOT_FOUND",
                                .code = RPC_NOT_FOUND,
                                .text = "there are no such topics",
                                .metadata = "",
                                .hint = "couponctl topics list shows those that exist"},
    [REASON_TOPIC_EXISTS] = {.name = "TOPIC_EXISTS",
                             .code = RPC_FAILED_PRECONDITION,
                             .text = "a topic of this version exists with another number of partitions",
                             .metadata = "",
                             .hint = "couponctl topics list shows the versions that exist"},
    [REASON_TOPIC_IN_USE] = {.name = "TOPIC_IN_USE",
                             .code = RPC_FAILED_PRECONDITION,
                             .text = "events are still published to these topics",
                             .metadata = "",
                             .hint = "couponctl topics list shows which topics are in use"},
    [REASON_TOPIC_NOT_DRAINED] = {.name = "TOPIC_NOT_DRAINED",
                                  .code = RPC_FAILED_PRECONDITION,
                                  .text = "these topics hold messages that have not been consumed yet",
                                  .metadata = "",
                                  .hint = "couponctl topics list shows the lag; try again when it is 0"},
    [REASON_TOPIC_VERSIONS_FULL] = {.name = "TOPIC_VERSIONS_FULL",
                                    .code = RPC_FAILED_PRECONDITION,
                                    .text = "couponsd already records the maximum number of topic versions",
                                    .metadata = "",
                                    .hint = "couponctl topics delete VERSION deletes a version that is drained"},
    [REASON_DEAD_LETTER_NOT_FOUND] = {.name = "DEAD_LETTER_NOT_FOUND",
                                      .code = RPC_NOT_FOUND,
                                      .text = "there is no dead letter of this id",
                                      .metadata = "",
                                      .hint = "couponctl dead-letters list shows those that exist"},
    [REASON_DROPPED] = {.name = "DROPPED",
                        .code = RPC_CANCELLED,
                        .other_code = RPC_DEADLINE_EXCEEDED,
                        .text = "the client no longer waits",
                        .metadata = "",
                        .hint = "--timeout MS waits longer"},
};

const struct reason_info *reason_info(enum reason reason) {
    return &reasons[reason];
}

enum reason reason_named(const char *name) {
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++)
        if (strcmp(reasons[reason].name, name) == 0)
            return (enum reason)reason;
    return REASON_NONE;
}

enum reason reason_of_refusal(enum refusal refusal) {
    static const enum reason of[] = {
        [REFUSAL_COUPON_NOT_FOUND] = REASON_COUPON_NOT_FOUND,
        [REFUSAL_SOLD_OUT] = REASON_SOLD_OUT,
        [REFUSAL_NOT_OPEN] = REASON_NOT_OPEN,
        [REFUSAL_PAUSED] = REASON_PAUSED,
        [REFUSAL_CLOSED] = REASON_CLOSED,
        [REFUSAL_EXPIRED] = REASON_EXPIRED,
    };
    return of[refusal];
}

bool reason_is_retriable(enum reason reason) {
    return reasons[reason].retry_after_ms > 0;
}
