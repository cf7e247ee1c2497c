/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests are read early. protobuf-c writes them, and reads the random ones as well. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/early_refusal.h"
#include "coupon/v1/coupon_service.pb-c.h"

static bool is_read(int64_t coupon_id, int64_t user_id, char *request_id) {
    Coupon__V1__RequestPublishRequest message = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    message.coupon_id = coupon_id;
    message.user_id = user_id;
    message.request_id = request_id;
    uint8_t bytes[400];
    struct early_request request;
    if (!early_request_read(bytes, coupon__v1__request_publish_request__pack(&message, bytes), &request))
        return false;
    cr_assert_eq(request.coupon_id, coupon_id);
    cr_assert_eq(request.user_id, user_id);
    return true;
}

Test(early_refusal, usual_requests_are_read) {
    char id[] = "8e1f-42";
    cr_assert(is_read(1, 1, id));
    cr_assert(is_read(INT64_MAX, INT64_MAX, (char[]){""}));
    char longest[129];
    memset(longest, 'x', 128);
    longest[128] = '\0';
    cr_assert(is_read(7, 300, longest));
}

Test(early_refusal, bad_and_unusual_ones_are_left_to_the_service) {
    char too_long[130];
    memset(too_long, 'x', 129);
    too_long[129] = '\0';
    cr_assert_not(is_read(0, 1, (char[]){"a"}));
    cr_assert_not(is_read(1, 0, (char[]){"a"}));
    cr_assert_not(is_read(-1, 1, (char[]){"a"}));
    cr_assert_not(is_read(1, 1, too_long));
    cr_assert_not(is_read(1, 1, (char[]){"\xc3\xbc"}));
    cr_assert_not(is_read(1, 1, (char[]){"a\nb"}));
    struct early_request request;
    cr_assert_not(early_request_read((const uint8_t *)"\x08\x01\x10\x02\x20\x01", 6, &request)); /* an unknown field */
    cr_assert_not(early_request_read((const uint8_t *)"\x08\x01\x10", 3, &request));
    cr_assert_not(early_request_read((const uint8_t *)"\x08\x01\x10\x02\x1a\x7f", 6, &request));
}

Test(early_refusal, what_is_read_is_what_protobuf_reads) {
    srand(1);
    int n_read = 0;
    for (int round = 0; round < 200000; round++) {
        static const uint8_t usual[] = {8, 16, 26, 1, 2, 3, 0x80, 0xff, 'a', 0};
        uint8_t bytes[12];
        size_t len = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = usual[(size_t)rand() % sizeof usual];
        struct early_request request;
        if (!early_request_read(bytes, len, &request))
            continue;
        Coupon__V1__RequestPublishRequest *message = coupon__v1__request_publish_request__unpack(NULL, len, bytes);
        cr_assert_not_null(message);
        cr_assert_eq(message->coupon_id, request.coupon_id);
        cr_assert_eq(message->user_id, request.user_id);
        coupon__v1__request_publish_request__free_unpacked(message, NULL);
        n_read++;
    }
    cr_assert_gt(n_read, 100);
}
