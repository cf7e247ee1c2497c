/* The verb of grpc.health.v1: health, for scripts and for the health checks of containers. */
#include <stdio.h>

#include "ctl.h"
#include "grpc/health/v1/health.pb-c.h"
#include "status.h"

#define TIMEOUT_MS_HEALTH 2000 /* a server that takes longer to say that it is well is not */

static const struct rpc_method methods[] = {{"Check", RPC_UNARY}, {"Watch", RPC_SERVER_STREAM}};
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

/* No exit code but 0 and 1: others are reserved to whoever runs it as a container's health check. */
int verb_health(struct ctl *ctl) {
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct remote remote;
    if (!remote_init(&remote, ctl->servers.targets[0], ctl->json))
        return EXIT_REFUSED;
    if (!args_flag(ctl->args, "timeout"))
        ctl->timeout_ms = TIMEOUT_MS_HEALTH;
    ProtobufCService *health =
        rpc_channel_service(remote.channel, &grpc__health__v1__health__descriptor, methods, METHODS);
    int exit_code = EXIT_REFUSED, exit_code_of_call;
    Grpc__Health__V1__HealthCheckResponse *response = (Grpc__Health__V1__HealthCheckResponse *)ctl_call(
        ctl, &remote, health, "Check", &request.base, NULL, &exit_code_of_call);
    if (response) {
        print_health(remote.target, status_name(response->status), ctl->json);
        if (response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
            exit_code = EXIT_OK;
        grpc__health__v1__health_check_response__free_unpacked(response, NULL);
    }
    remote_deinit(&remote);
    return exit_code;
}
