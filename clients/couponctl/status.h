/* How a call failed: rpc_status with its google.rpc.Status taken apart, for people and for scripts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/rpc.h"

struct pair {
    char *name, *text;
};

struct failure {
    int code;
    char *message;
    char *reason;          /* of ErrorInfo; "" where the server said none */
    struct pair *metadata; /* of ErrorInfo */
    size_t n_metadata;
    struct pair *fields; /* of BadRequest */
    size_t n_fields;
    int64_t retry_after_ms; /* of RetryInfo; -1: none */
};

/* Always fills *failure, also from no or broken details. */
void failure_init(struct failure *failure, const struct rpc_status *status);
void failure_deinit(struct failure *failure);
/* NULL where the metadata has none. */
const char *failure_metadata(const struct failure *failure, const char *name);
/* The reason, or else the name of the code. */
const char *failure_name(const struct failure *failure);
/* 1 refused, 3 no answer. */
int failure_exit_code(const struct failure *failure);
/* Text with a hint on stderr, or with json an object on stdout. `server` and `request_id` may be NULL; the latter lets
 * the user repeat a request whose fate is unknown. */
void failure_print(const struct failure *failure, bool json, const char *server, const char *request_id);
/* The same for what failed on this side. */
void failure_print_text(bool json, const char *code, const char *text);

/* True for codes after which the same request may be sent again: no answer, or the server asks to come back. */
bool code_is_retriable(int code);
/* How long to wait after attempt number `attempt` (from 1): RetryInfo's delay, or else a growing one, capped. */
int64_t failure_retry_ms(const struct failure *failure, int attempt);
