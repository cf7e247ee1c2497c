/* The verbs of CouponService: request, status, watch, coupons. */
#include "base/clock.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "ctl.h"
#include "output.h"
#include "status.h"

const struct option_spec request_options[] = {
    {"request-id", "ID", "the same on every retry of one request; random unless given"},
    {"retry", NULL, "send again, to the next server, while there is no answer"},
    {"retry-for", "MS", "for so long (30000); implies --retry"},
    {0},
};

static bool read_pair(const struct ctl *ctl, int64_t *ret_coupon, int64_t *ret_user) {
    return args_operand_int(ctl->args, 0, "COUPON", ret_coupon) && args_operand_int(ctl->args, 1, "USER", ret_user);
}

static void show_status(const Coupon__V1__PublishStatus *status, bool json) {
    Coupon__V1__PublishStatus empty = COUPON__V1__PUBLISH_STATUS__INIT;
    print_status(status ? status : &empty, json);
}

/* --- request --- */

/* One attempt, over a connection of its own: one that failed would wait before it tries to connect again. Returns the
 * exit code, or -1 where it failed but another attempt may help. */
static int attempt(struct ctl *ctl, const char *target, const Coupon__V1__RequestPublishRequest *request,
                   bool may_retry, int n) {
    struct remote remote;
    if (!remote_init(&remote, target, ctl->json))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    struct rpc_status status;
    ProtobufCMessage *response =
        remote_call(remote.coupons, "RequestPublish", &request->base, ctl->timeout_ms, &status);
    if (response) {
        show_status(((Coupon__V1__RequestPublishResponse *)response)->status, ctl->json);
        protobuf_c_message_free_unpacked(response, NULL);
    } else {
        struct failure failure;
        failure_init(&failure, &status);
        if (may_retry && code_is_retriable(failure.code)) {
            clock_sleep_us(failure_retry_ms(&failure, n) * US_PER_MS);
            exit_code = -1;
        } else {
            failure_print(&failure, ctl->json, target, request->request_id);
            exit_code = failure_exit_code(&failure);
        }
        failure_deinit(&failure);
        rpc_status_deinit(&status);
    }
    remote_deinit(&remote);
    return exit_code;
}

int verb_request(struct ctl *ctl) {
    int64_t retry_for_ms = RETRY_FOR_MS_DEFAULT;
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    if (!read_pair(ctl, &request.coupon_id, &request.user_id) ||
        !args_int(ctl->args, "retry-for", 0, INT64_MAX / US_PER_MS / 2, &retry_for_ms))
        return EXIT_USAGE;
    char room[REQUEST_ID_SIZE];
    random_uuid(room);
    const char *given = args_text(ctl->args, "request-id");
    request.request_id = given ? (char *)(uintptr_t)given : room; /* protobuf-c wants char * */

    bool retry = args_flag(ctl->args, "retry") || args_flag(ctl->args, "retry-for");
    int64_t end_us = clock_mono_us() + retry_for_ms * US_PER_MS;
    int exit_code = -1;
    for (int n = 1; exit_code < 0; n++) {
        const char *target = ctl->servers.targets[(size_t)(n - 1) % ctl->servers.n];
        exit_code = attempt(ctl, target, &request, retry && clock_mono_us() < end_us, n);
    }
    return exit_code;
}

/* --- status, watch --- */

int verb_status(struct ctl *ctl) {
    Coupon__V1__GetStatusRequest request = COUPON__V1__GET_STATUS_REQUEST__INIT;
    struct remote remote;
    if (!read_pair(ctl, &request.coupon_id, &request.user_id))
        return EXIT_USAGE;
    if (!remote_init(&remote, ctl->servers.targets[0], ctl->json))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    ProtobufCMessage *response = ctl_call(ctl, &remote, remote.coupons, "GetStatus", &request.base, NULL, &exit_code);
    if (response) {
        show_status(((Coupon__V1__GetStatusResponse *)response)->status, ctl->json);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    remote_deinit(&remote);
    return exit_code;
}

/* On the channel's poller, while the verb waits. */
static void on_change(const ProtobufCMessage *message, void *arg) {
    const struct ctl *ctl = arg;
    show_status(((const Coupon__V1__WatchStatusResponse *)message)->status, ctl->json);
}

int verb_watch(struct ctl *ctl) {
    Coupon__V1__WatchStatusRequest request = COUPON__V1__WATCH_STATUS_REQUEST__INIT;
    struct remote remote;
    if (!read_pair(ctl, &request.coupon_id, &request.user_id))
        return EXIT_USAGE;
    if (!remote_init(&remote, ctl->servers.targets[0], ctl->json))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    /* It takes as long as it takes, unless the user says otherwise. */
    int64_t timeout_ms = args_flag(ctl->args, "timeout") ? ctl->timeout_ms : 0;
    struct rpc_status status;
    if (!rpc_client_call_wait(remote.coupons, method_index(remote.coupons, "WatchStatus"), &request.base, timeout_ms,
                              on_change, ctl, &status)) {
        struct failure failure;
        failure_init(&failure, &status);
        failure_print(&failure, ctl->json, remote.target, NULL);
        exit_code = failure_exit_code(&failure);
        failure_deinit(&failure);
        rpc_status_deinit(&status);
    }
    remote_deinit(&remote);
    return exit_code;
}

/* --- coupons --- */

int verb_coupons(struct ctl *ctl) {
    int64_t user_id = 0, page_size = 0, left = INT64_MAX;
    struct remote remote;
    if (!args_operand_int(ctl->args, 0, "USER", &user_id) ||
        !args_int(ctl->args, "page-size", 1, PAGE_SIZE_MAX, &page_size) ||
        !args_int(ctl->args, "limit", 1, INT64_MAX, &left))
        return EXIT_USAGE;
    if (!remote_init(&remote, ctl->servers.targets[0], ctl->json))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__ListUserCouponsResponse *page = NULL;
    for (bool more = true; more;) {
        Coupon__V1__ListUserCouponsRequest request = COUPON__V1__LIST_USER_COUPONS_REQUEST__INIT;
        request.user_id = user_id;
        request.page_size = (int32_t)page_size;
        if (page)
            request.page_token = page->next_page_token;
        ProtobufCMessage *next =
            ctl_call(ctl, &remote, remote.coupons, "ListUserCoupons", &request.base, NULL, &exit_code);
        if (next && !page)
            print_user_coupon_header(ctl->json);
        if (page)
            coupon__v1__list_user_coupons_response__free_unpacked(page, NULL);
        page = (Coupon__V1__ListUserCouponsResponse *)next;
        if (!page)
            break;
        for (size_t i = 0; i < page->n_user_coupons && left > 0; i++, left--)
            print_user_coupon(page->user_coupons[i], ctl->json);
        more = left > 0 && *page->next_page_token;
    }
    if (page)
        coupon__v1__list_user_coupons_response__free_unpacked(page, NULL);
    remote_deinit(&remote);
    return exit_code;
}
