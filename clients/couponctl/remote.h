/* The servers: where they are, and calls that are waited for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/client.h"

struct args;
struct ctl;

struct servers {
    char **targets;
    size_t n;
};

/* From --server (repeated, or with commas), COUPONCTL_SERVER, or the default. */
bool servers_init(struct servers *servers, const struct args *args);
void servers_deinit(struct servers *servers);

/* A connection to one server. */
struct remote {
    const char *target;
    struct rpc_channel *channel;
    ProtobufCService *coupons, *admin, *topics; /* CouponService, CouponAdminService, TopicAdminService */
};

/* Does not connect yet. Says what is wrong where it returns false. */
bool remote_init(struct remote *remote, const char *target, bool json);
void remote_deinit(struct remote *remote);

/* Calls a unary method by its name in the .proto. Returns the response, to be freed with
 * protobuf_c_message_free_unpacked; NULL where it failed, *ret_status is then to be rpc_status_deinit'ed. */
ProtobufCMessage *remote_call(ProtobufCService *service, const char *method, const ProtobufCMessage *input,
                              int64_t timeout_ms, struct rpc_status *ret_status);
/* The method's number within its service. */
unsigned method_index(const ProtobufCService *service, const char *method);

/* For verbs of one call to the first server: prints a failure and then returns NULL, with *ret_exit_code set. */
ProtobufCMessage *ctl_call(struct ctl *ctl, struct remote *remote, ProtobufCService *service, const char *method,
                           const ProtobufCMessage *input, const char *request_id, int *ret_exit_code);

#define REQUEST_ID_SIZE 37
/* A random UUID (version 4). */
void random_uuid(char ret_text[static REQUEST_ID_SIZE]);
