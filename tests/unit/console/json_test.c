/* SPDX-License-Identifier: Apache-2.0 */
#include "console/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"

static void expect_json(const ProtobufCMessage *message, const char *expected) {
    struct strbuf json = {0};
    json_message(&json, message);
    cr_expect_str_eq(json.data, expected);
    cr_expect_eq(json.len, strlen(expected));
    strbuf_deinit(&json);
}

Test(json, members_and_brackets_make_objects) {
    struct strbuf json = {0};
    json_open(&json, NULL, '{');
    json_text(&json, "text", "a\"b");
    json_id(&json, "id", INT64_MAX);
    json_int(&json, "int", -5);
    json_number(&json, "number", 0.25);
    json_number(&json, "none", (double)INFINITY);
    json_bool(&json, "bool", true);
    json_time(&json, "time", 1);
    json_open(&json, "list", '[');
    json_int(&json, NULL, 1);
    json_int(&json, NULL, 2);
    json_close(&json, ']');
    json_open(&json, "empty", '{');
    json_close(&json, '}');
    json_end(&json);
    cr_expect_str_eq(json.data, "{\"text\":\"a\\\"b\",\"id\":\"9223372036854775807\",\"int\":-5,\"number\":0.25,"
                                "\"none\":null,\"bool\":true,\"time\":\"1970-01-01T00:00:00.000001Z\",\"list\":[1,2],"
                                "\"empty\":{}}");
    strbuf_deinit(&json);
}

Test(json, a_message_has_all_its_fields_but_absent_messages) {
    Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Coupon__V1__GetCouponResponse response = COUPON__V1__GET_COUPON_RESPONSE__INIT;
    expect_json(&response.base, "{}");
    time.seconds = 1;
    time.nanos = 500000000;
    coupon.id = 7;
    coupon.name = "tea \xEC\xBF\xA0";
    coupon.status = COUPON__V1__COUPON__STATUS__STATUS_PAUSED;
    coupon.discount_rate = 12.5;
    coupon.open_time = &time;
    response.coupon = &coupon;
    expect_json(&response.base,
                "{\"coupon\":{\"id\":\"7\",\"name\":\"tea \xEC\xBF\xA0\",\"quantity\":\"0\",\"accepted\":\"0\","
                "\"issued\":\"0\",\"status\":\"PAUSED\",\"discount_rate\":12.5,"
                "\"open_time\":\"1970-01-01T00:00:01.500000Z\",\"available\":false}}");
}

Test(json, lists_of_messages_and_of_texts) {
    Coupon__V1__Check checks[2] = {COUPON__V1__CHECK__INIT, COUPON__V1__CHECK__INIT};
    Coupon__V1__Check *pointers[] = {&checks[0], &checks[1]};
    Coupon__V1__VerifyCouponResponse verified = COUPON__V1__VERIFY_COUPON_RESPONSE__INIT;
    Coupon__V1__DeleteTopicsResponse deleted = COUPON__V1__DELETE_TOPICS_RESPONSE__INIT;
    checks[0].name = "ledger";
    checks[0].result = COUPON__V1__CHECK__RESULT__RESULT_OK;
    checks[1].name = "flag";
    checks[1].result = 77;
    verified.n_checks = 2;
    verified.checks = pointers;
    expect_json(&verified.base, "{\"checks\":[{\"name\":\"ledger\",\"result\":\"OK\",\"detail\":\"\"},"
                                "{\"name\":\"flag\",\"result\":77,\"detail\":\"\"}]}");
    deleted.n_topics = 2;
    deleted.topics = (char *[]){"a", "b"};
    expect_json(&deleted.base, "{\"topics\":[\"a\",\"b\"]}");
}

Test(json, bytes_are_base64_and_small_integers_are_numbers) {
    Coupon__V1__DeadLetter letter = COUPON__V1__DEAD_LETTER__INIT;
    letter.id = 1;
    letter.partition = 3;
    letter.key = (ProtobufCBinaryData){3, (uint8_t *)"abc"};
    expect_json(&letter.base,
                "{\"id\":\"1\",\"topic\":\"\",\"partition\":3,\"offset\":\"0\",\"key\":\"YWJj\",\"value\":\"\","
                "\"value_size\":\"0\",\"reason\":\"\",\"coupon_id\":\"0\"}");
}
