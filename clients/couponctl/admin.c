/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of CouponAdminService: create, get, list, pause, resume, close, add. */
#include <stddef.h>

#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "ctl.h"
#include "output.h"

const struct option_spec create_options[] = {
    {"quantity", "N", "number of coupons that may be issued; required"},
    {"id", "ID", "id of the coupon (default: the server chooses one)"},
    {"name", "TEXT", "name of the coupon"},
    {"discount-rate", "R", "percent off the price, 0 to 100; for information only"},
    {"open", "TIME", "refuse requests before this time, e.g. 2026-01-31T12:00:00Z"},
    {"expire", "TIME", "refuse requests from this time on"},
    {"paused", NULL, "create it paused"},
    {"request-id", "ID", "makes a retry safe: the same id creates one coupon"},
    {0},
};

const struct option_spec list_options[] = {
    {"page-size", "N", "coupons per call, at most 1000"},
    {"limit", "N", "stop after N coupons"},
    {0},
};

const struct option_spec add_options[] = {
    {"request-id", "ID", "makes a retry safe: the same id adds once"},
    {0},
};

/* Calls the first server and prints the coupon in the response. The coupon is the only field of all these responses, so
 * one type serves for all. */
static int call_for_coupon(struct ctl *ctl, const ProtobufCMessage *request, const char *request_id) {
    struct remote remote;
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__GetCouponResponse *response = ctl_call(ctl, &remote, request, request_id, &exit_code);
    if (response) {
        const Coupon__V1__Coupon *coupon = response->coupon;
        Coupon__V1__Coupon empty = COUPON__V1__COUPON__INIT;
        print_coupon_header(ctl->json);
        print_coupon(coupon ? coupon : &empty, ctl->json);
        coupons_free(response);
    }
    remote_deinit(&remote);
    return exit_code;
}

#define COUPON_AT(response) offsetof(Coupon__V1__##response, coupon)
_Static_assert(COUPON_AT(CreateCouponResponse) == COUPON_AT(GetCouponResponse) &&
                   COUPON_AT(PauseCouponResponse) == COUPON_AT(GetCouponResponse) &&
                   COUPON_AT(ResumeCouponResponse) == COUPON_AT(GetCouponResponse) &&
                   COUPON_AT(CloseCouponResponse) == COUPON_AT(GetCouponResponse) &&
                   COUPON_AT(AddQuantityResponse) == COUPON_AT(GetCouponResponse),
               "call_for_coupon reads all responses as GetCouponResponse");

/* Returns --request-id or a random id, so that the user can repeat a call that got no answer. protobuf-c needs char
 * *. */
static char *request_id_of(const struct args *args, char room[static COUPONS_REQUEST_ID_SIZE]) {
    const char *given = args_text(args, "request-id");
    if (given)
        return (char *)(uintptr_t)given;
    coupons_request_id(room);
    return room;
}

int verb_create(struct ctl *ctl) {
    const struct args *args = ctl->args;
    if (!args_flag(args, "quantity"))
        return args_refuse(args, "create needs --quantity N, the number of coupons that may be issued");
    int64_t open_us = 0, expire_us = 0;
    Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
    if (!args_int(args, "quantity", INT64_MIN, INT64_MAX, &coupon.quantity) ||
        !args_int(args, "id", INT64_MIN, INT64_MAX, &coupon.id) ||
        !args_double(args, "discount-rate", &coupon.discount_rate) || !args_time(args, "open", &open_us) ||
        !args_time(args, "expire", &expire_us))
        return EXIT_USAGE;
    Google__Protobuf__Timestamp open = timestamp_of(open_us), expire = timestamp_of(expire_us);
    if (args_flag(args, "open"))
        coupon.open_time = &open;
    if (args_flag(args, "expire"))
        coupon.expire_time = &expire;
    if (args_flag(args, "paused"))
        coupon.status = COUPON__V1__COUPON__STATUS__STATUS_PAUSED;
    if (args_flag(args, "name"))
        coupon.name = (char *)(uintptr_t)args_text(args, "name");
    char room[COUPONS_REQUEST_ID_SIZE];
    Coupon__V1__CreateCouponRequest request = COUPON__V1__CREATE_COUPON_REQUEST__INIT;
    request.coupon = &coupon;
    request.request_id = request_id_of(args, room);
    return call_for_coupon(ctl, &request.base, request.request_id);
}

/* Calls the method of a request type whose only field is a coupon id. */
static int call_with_id(struct ctl *ctl, const ProtobufCMessageDescriptor *descriptor) {
    Coupon__V1__GetCouponRequest request;
    protobuf_c_message_init(descriptor, &request);
    if (!args_operand_int(ctl->args, 0, "ID", &request.coupon_id))
        return EXIT_USAGE;
    return call_for_coupon(ctl, &request.base, NULL);
}

_Static_assert(sizeof(Coupon__V1__GetCouponRequest) == sizeof(Coupon__V1__PauseCouponRequest) &&
                   sizeof(Coupon__V1__GetCouponRequest) == sizeof(Coupon__V1__ResumeCouponRequest) &&
                   sizeof(Coupon__V1__GetCouponRequest) == sizeof(Coupon__V1__CloseCouponRequest),
               "call_with_id fills all requests as GetCouponRequest");

int verb_get(struct ctl *ctl) {
    return call_with_id(ctl, &coupon__v1__get_coupon_request__descriptor);
}

int verb_pause(struct ctl *ctl) {
    return call_with_id(ctl, &coupon__v1__pause_coupon_request__descriptor);
}

int verb_resume(struct ctl *ctl) {
    return call_with_id(ctl, &coupon__v1__resume_coupon_request__descriptor);
}

int verb_close(struct ctl *ctl) {
    return call_with_id(ctl, &coupon__v1__close_coupon_request__descriptor);
}

int verb_add(struct ctl *ctl) {
    char room[COUPONS_REQUEST_ID_SIZE];
    Coupon__V1__AddQuantityRequest request = COUPON__V1__ADD_QUANTITY_REQUEST__INIT;
    if (!args_operand_int(ctl->args, 0, "ID", &request.coupon_id) ||
        !args_operand_int(ctl->args, 1, "N", &request.quantity))
        return EXIT_USAGE;
    request.request_id = request_id_of(ctl->args, room);
    return call_for_coupon(ctl, &request.base, request.request_id);
}

int verb_list(struct ctl *ctl) {
    int64_t page_size = 0, left = INT64_MAX;
    if (!args_int(ctl->args, "page-size", 1, PAGE_SIZE_MAX, &page_size) ||
        !args_int(ctl->args, "limit", 1, INT64_MAX, &left))
        return EXIT_USAGE;
    struct remote remote;
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__ListCouponsResponse *page = NULL;
    for (bool more = true; more;) {
        Coupon__V1__ListCouponsRequest request = COUPON__V1__LIST_COUPONS_REQUEST__INIT;
        request.page_size = (int32_t)page_size;
        if (page)
            request.page_token = page->next_page_token;
        Coupon__V1__ListCouponsResponse *next = ctl_call(ctl, &remote, &request.base, NULL, &exit_code);
        if (next && !page)
            print_coupon_header(ctl->json);
        coupons_free(page);
        page = next;
        if (!page)
            break;
        for (size_t i = 0; i < page->n_coupons && left > 0; i++, left--)
            print_coupon(page->coupons[i], ctl->json);
        more = left > 0 && *page->next_page_token;
    }
    coupons_free(page);
    remote_deinit(&remote);
    return exit_code;
}
