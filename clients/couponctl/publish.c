/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of CouponService: request, status, watch, coupons. */
#include "base/clock.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "ctl.h"
#include "output.h"
#include "status.h"

const struct option_spec request_options[] = {
    {"request-id", "ID", "same id on every retry of one request (default: a random id)"},
    {"retry", NULL, "if no answer comes, send the request again, to the next server"},
    {"retry-for", "MS", "time limit of retries (30000); implies --retry"},
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

/* Makes one attempt, over a new connection: a connection that failed would wait before it connects again. Returns the
 * exit code, or -1 if the attempt failed and another one may succeed. */
static int attempt(struct ctl *ctl, const char *target, const Coupon__V1__RequestPublishRequest *request,
                   bool may_retry, int n) {
    struct remote remote;
    if (!remote_init(&remote, ctl, target))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    struct coupons_failure failure;
    Coupon__V1__RequestPublishResponse *response =
        coupons_call_once(remote.client, &request->base, ctl->timeout_ms, &failure);
    if (response) {
        show_status(response->status, ctl->json);
        coupons_free(response);
    } else if (may_retry && code_is_retriable(failure.code)) {
        clock_sleep_us(failure_retry_ms(&failure, n) * US_PER_MS);
        coupons_failure_deinit(&failure);
        exit_code = -1;
    } else {
        exit_code = ctl_fail(ctl, &remote, &failure, request->request_id);
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
    char room[COUPONS_REQUEST_ID_SIZE];
    coupons_request_id(room);
    const char *given = args_text(ctl->args, "request-id");
    request.request_id = given ? (char *)(uintptr_t)given : room; /* protobuf-c needs char * */

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
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__GetStatusResponse *response = ctl_call(ctl, &remote, &request.base, NULL, &exit_code);
    if (response) {
        show_status(response->status, ctl->json);
        coupons_free(response);
    }
    remote_deinit(&remote);
    return exit_code;
}

/* Runs on a poller of the channel while the verb waits. */
static void on_status(const Coupon__V1__PublishStatus *status, void *arg) {
    const struct ctl *ctl = arg;
    show_status(status, ctl->json);
}

int verb_watch(struct ctl *ctl) {
    Coupon__V1__WatchStatusRequest request = COUPON__V1__WATCH_STATUS_REQUEST__INIT;
    struct remote remote;
    if (!read_pair(ctl, &request.coupon_id, &request.user_id))
        return EXIT_USAGE;
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    /* A request may stay unissued for any time, so the default is no limit. */
    int64_t timeout_ms = args_flag(ctl->args, "timeout") ? ctl->timeout_ms : 0;
    struct coupons_failure failure;
    if (!coupons_watch(remote.client, &request, timeout_ms, on_status, ctl, &failure))
        exit_code = ctl_fail(ctl, &remote, &failure, NULL);
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
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__ListUserCouponsResponse *page = NULL;
    for (bool more = true; more;) {
        Coupon__V1__ListUserCouponsRequest request = COUPON__V1__LIST_USER_COUPONS_REQUEST__INIT;
        request.user_id = user_id;
        request.page_size = (int32_t)page_size;
        if (page)
            request.page_token = page->next_page_token;
        Coupon__V1__ListUserCouponsResponse *next = ctl_call(ctl, &remote, &request.base, NULL, &exit_code);
        if (next && !page)
            print_user_coupon_header(ctl->json);
        coupons_free(page);
        page = next;
        if (!page)
            break;
        for (size_t i = 0; i < page->n_user_coupons && left > 0; i++, left--)
            print_user_coupon(page->user_coupons[i], ctl->json);
        more = left > 0 && *page->next_page_token;
    }
    coupons_free(page);
    remote_deinit(&remote);
    return exit_code;
}
