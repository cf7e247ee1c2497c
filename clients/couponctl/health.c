/* SPDX-License-Identifier: Apache-2.0 */
/* The verb health, on grpc.health.v1: for scripts, and for the health checks of containers. */
#include <stdio.h>

#include "ctl.h"
#include "grpc/health/v1/health.pb-c.h"
#include "status.h"

#define TIMEOUT_MS_HEALTH 2000 /* a server that needs longer for this answer is not healthy */

enum { CHECK, WATCH };
static const struct rpc_method methods[] = {[CHECK] = {"Check", RPC_UNARY}, [WATCH] = {"Watch", RPC_SERVER_STREAM}};
#define METHODS (sizeof methods / sizeof methods[0])

static void print_health(const char *server, const char *status, bool json) {
    if (json)
        printf("{\"status\":\"%s\"}\n", status);
    else
        printf("%s is %s\n", server, status);
}

static const char *status_name(Grpc__Health__V1__HealthCheckResponse__ServingStatus status) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &grpc__health__v1__health_check_response__serving_status__descriptor, (int)status);
    return value ? value->name : "UNKNOWN";
}

/* Runs on a poller of the channel while the verb waits. */
static void keep_status(const ProtobufCMessage *message, void *arg) {
    Grpc__Health__V1__HealthCheckResponse__ServingStatus *status = arg;
    *status = ((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
}

/* The exit code is 0 or 1 for any outcome of the call: Docker reserves the others in a health check. */
int verb_health(struct ctl *ctl) {
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct remote remote;
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_REFUSED;
    ProtobufCService *health =
        rpc_channel_service(coupons_channel(remote.client), &grpc__health__v1__health__descriptor, methods, METHODS);
    int64_t timeout_ms = args_flag(ctl->args, "timeout") ? ctl->timeout_ms : TIMEOUT_MS_HEALTH;
    Grpc__Health__V1__HealthCheckResponse__ServingStatus serving =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN;
    int exit_code = EXIT_REFUSED;
    struct rpc_status status;
    if (rpc_client_call_wait(health, CHECK, &request.base, timeout_ms, &(struct rpc_reader){keep_status, &serving},
                             &status)) {
        print_health(remote.target, status_name(serving), ctl->json);
        if (serving == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
            exit_code = EXIT_OK;
    } else {
        struct coupons_failure failure;
        coupons_failure_init(&failure, &status);
        rpc_status_deinit(&status);
        ctl_fail(ctl, &remote, &failure, NULL);
    }
    remote_deinit(&remote);
    return exit_code;
}
