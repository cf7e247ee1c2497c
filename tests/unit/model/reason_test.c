/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "coupon/v1/error_reason.pb-c.h"
#include "model/reason.h"
#include "rpc/rpc.h"

#define PREFIX "ERROR_REASON_"

Test(reason, the_proto_lists_every_reason_that_is_sent_with_its_number) {
    const ProtobufCEnumDescriptor *proto = &coupon__v1__error_reason__descriptor;
    cr_assert_eq(proto->n_values, (unsigned)REASON_DROPPED, "0 is unspecified, the rest are the table's");
    for (int reason = REASON_NONE + 1; reason < REASON_DROPPED; reason++) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(proto, reason);
        cr_assert_not_null(value, "%d", reason);
        cr_assert_eq(strncmp(value->name, PREFIX, strlen(PREFIX)), 0, "%s", value->name);
        cr_expect_str_eq(value->name + strlen(PREFIX), reason_info((enum reason)reason)->name);
    }
}

Test(reason, each_is_found_by_its_name_and_no_other_text_is_a_name) {
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++)
        cr_expect_eq(reason_named(reason_info((enum reason)reason)->name), (enum reason)reason);
    cr_expect_eq(reason_named(""), REASON_NONE);
    cr_expect_eq(reason_named("SOLD"), REASON_NONE);
}

Test(reason, every_row_is_complete) {
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++) {
        const struct reason_info *info = reason_info((enum reason)reason);
        cr_assert(info->name && info->text && info->metadata && info->hint, "%d", reason);
        cr_expect(*info->name && *info->text && *info->hint, "%s", info->name);
        cr_expect(info->code > RPC_OK && info->code < RPC_CODES, "%s", info->name);
        cr_expect_neq(info->other_code, info->code, "%s", info->name);
    }
}

Test(reason, what_the_text_fills_in_is_among_the_metadata) {
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++) {
        const struct reason_info *info = reason_info((enum reason)reason);
        for (const char *at = info->text; (at = strchr(at, '{')); at++) {
            const char *end = strchr(at, '}');
            char name[32] = "";
            cr_assert_not_null(end, "%s", info->name);
            cr_assert_lt((size_t)(end - at), sizeof name);
            memcpy(name, at + 1, (size_t)(end - at - 1));
            cr_expect_not_null(strstr(info->metadata, name), "%s lacks %s", info->name, name);
        }
    }
}

Test(reason, only_codes_that_ask_to_come_back_are_retriable) {
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++) {
        int code = reason_info((enum reason)reason)->code;
        cr_expect_eq(reason_is_retriable((enum reason)reason),
                     code == RPC_UNAVAILABLE || code == RPC_RESOURCE_EXHAUSTED, "%s",
                     reason_info((enum reason)reason)->name);
    }
}

Test(reason, every_refusal_of_a_coupon_has_one) {
    static const struct {
        enum refusal refusal;
        const char *name;
    } expected[] = {
        {REFUSAL_COUPON_NOT_FOUND, "COUPON_NOT_FOUND"},
        {REFUSAL_SOLD_OUT, "SOLD_OUT"},
        {REFUSAL_NOT_OPEN, "NOT_OPEN"},
        {REFUSAL_PAUSED, "PAUSED"},
        {REFUSAL_CLOSED, "CLOSED"},
        {REFUSAL_EXPIRED, "EXPIRED"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_expect_str_eq(reason_info(reason_of_refusal(expected[i].refusal))->name, expected[i].name);
}
