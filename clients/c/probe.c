/* SPDX-License-Identifier: Apache-2.0 */
/* probe NAME=VALUE...: makes the calls that tests/clients asks for, on one client. The options are target, tls, ca,
 * certificate, key, server_name, token and plaintext_token. Each line of stdin is a call, "request COUPON USER
 * TIMEOUT_MS" or "watch COUPON USER", and is answered by a line of JSON on stdout. */
#include <coupons.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_end(const struct coupons_failure *failure, int64_t ticket, int retries) {
    printf("{\"code\": %d, \"reason\": \"%s\", \"ticket\": %" PRId64 ", \"retries\": %d}\n",
           failure ? failure->code : RPC_OK, failure ? failure->reason : "", ticket, retries);
}

static void count_retry(const struct coupons_failure *failure, int64_t delay_ms, void *arg) {
    (void)failure, (void)delay_ms;
    ++*(int *)arg;
}

static void request(struct coupons_client *client, int64_t coupon_id, int64_t user_id, int64_t timeout_ms) {
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    request.coupon_id = coupon_id;
    request.user_id = user_id;
    int retries = 0;
    struct coupons_failure failure;
    Coupon__V1__RequestPublishResponse *response = coupons_call(
        client, &request.base,
        &(struct coupons_retry){.timeout_ms = timeout_ms, .on_retry = count_retry, .arg = &retries}, &failure);
    print_end(response ? NULL : &failure, response ? response->status->ticket : 0, retries);
    if (!response)
        coupons_failure_deinit(&failure);
    coupons_free(response);
}

static void keep_ticket(const Coupon__V1__PublishStatus *status, void *arg) {
    *(int64_t *)arg = status->ticket;
}

static void watch(struct coupons_client *client, int64_t coupon_id, int64_t user_id) {
    Coupon__V1__WatchStatusRequest request = COUPON__V1__WATCH_STATUS_REQUEST__INIT;
    request.coupon_id = coupon_id;
    request.user_id = user_id;
    int64_t ticket = 0;
    struct coupons_failure failure;
    bool ok = coupons_watch(client, &request, 0, keep_ticket, &ticket, &failure);
    print_end(ok ? NULL : &failure, ticket, 0);
    if (!ok)
        coupons_failure_deinit(&failure);
}

/* Returns the value of an argument NAME=VALUE, or NULL. */
static const char *value_of(char **arguments, const char *name) {
    for (; *arguments; arguments++)
        if (strncmp(*arguments, name, strlen(name)) == 0 && (*arguments)[strlen(name)] == '=')
            return *arguments + strlen(name) + 1;
    return NULL;
}

/* Reads the n numbers behind the command's name. */
static bool is_command(const char *line, const char *name, int64_t *ret_numbers, int n) {
    if (strncmp(line, name, strlen(name)) != 0)
        return false;
    const char *at = line + strlen(name);
    for (int i = 0; i < n; i++) {
        char *end;
        ret_numbers[i] = strtoll(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

int main(int argc, char **argv) {
    (void)argc;
    const struct rpc_tls tls = {
        .certificate = value_of(argv, "certificate"), .key = value_of(argv, "key"), .ca = value_of(argv, "ca")};
    const struct rpc_channel_options options = {
        .tls = tls.ca || tls.certificate || value_of(argv, "tls") ? &tls : NULL,
        .server_name = value_of(argv, "server_name"),
        .token = value_of(argv, "token"),
        .plaintext_token = value_of(argv, "plaintext_token"),
    };
    struct coupons_client *client;
    struct err err;
    if (!coupons_client_open(value_of(argv, "target"), &options, &client, &err)) {
        printf("{\"error\": \"%s\"}\n", err.text);
        return 1;
    }
    char line[200];
    int64_t numbers[3]; /* coupon, user, time-out in ms */
    while (fgets(line, sizeof line, stdin)) {
        if (is_command(line, "request ", numbers, 3))
            request(client, numbers[0], numbers[1], numbers[2]);
        else if (is_command(line, "watch ", numbers, 2))
            watch(client, numbers[0], numbers[1]);
        fflush(stdout);
    }
    coupons_client_free(client);
    return 0;
}
