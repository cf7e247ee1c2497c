/* SPDX-License-Identifier: Apache-2.0 */
#include "api/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "toy.h"

/* --- times --- */

static void expect_timestamp(int64_t wall_us, int64_t seconds, int32_t nanos) {
    Google__Protobuf__Timestamp timestamp;
    int64_t read;
    timestamp_init(&timestamp, wall_us);
    cr_expect_eq(timestamp.seconds, seconds, "%ld", (long)timestamp.seconds);
    cr_expect_eq(timestamp.nanos, nanos, "%d", timestamp.nanos);
    cr_assert(timestamp_read(&timestamp, &read));
    cr_expect_eq(read, wall_us);
}

Test(answer, a_timestamps_nanos_count_forward_before_1970_too) {
    expect_timestamp(0, 0, 0);
    expect_timestamp(1700000000123456, 1700000000, 123456000);
    expect_timestamp(-1, -1, 999999000);
    expect_timestamp(-US_PER_S, -1, 0);
    expect_timestamp(-US_PER_S - 1, -2, 999999000);
}

static bool reads(int64_t seconds, int32_t nanos) {
    Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    int64_t read = 77;
    timestamp.seconds = seconds;
    timestamp.nanos = nanos;
    bool ok = timestamp_read(&timestamp, &read);
    if (!ok)
        cr_expect_eq(read, 77, "untouched");
    return ok;
}

Test(answer, a_timestamp_lies_in_the_years_1_to_9999) {
    cr_expect(reads(INT64_C(-62135596800), 0));
    cr_expect_not(reads(INT64_C(-62135596801), 999999999));
    cr_expect(reads(INT64_C(253402300799), 999999999));
    cr_expect_not(reads(INT64_C(253402300800), 0));
    cr_expect_not(reads(0, -1));
    cr_expect_not(reads(0, 1000000000));
}

/* --- messages from rows --- */

Test(answer, a_status_is_accepted_issued_or_rejected) {
    struct request_status row = {.coupon_id = 7,
                                 .user_id = 9,
                                 .found = true,
                                 .ticket = 3,
                                 .request_id = "r-1",
                                 .accept_us = 1000000,
                                 .issue_us = NOT_ISSUED};
    struct status_message message;
    status_message_init(&message, &row);
    cr_expect_eq(message.status.state, COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED);
    cr_expect_null(message.status.issue_time);
    cr_expect_eq(message.status.ticket, 3);
    cr_expect_str_eq(message.status.request_id, "r-1");
    cr_expect_eq(message.status.accept_time->seconds, 1);
    row.reject_reason = REJECT_EXPIRED;
    status_message_init(&message, &row);
    cr_expect_eq(message.status.state, COUPON__V1__PUBLISH_STATUS__STATE__STATE_REJECTED);
    cr_expect_eq(message.status.reject_reason, COUPON__V1__REJECT_REASON__REJECT_REASON_EXPIRED);
    row.reject_reason = REJECT_NONE;
    row.issue_us = 2000000;
    status_message_init(&message, &row);
    cr_expect_eq(message.status.state, COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED);
    cr_expect_eq(message.status.issue_time->seconds, 2);
}

Test(answer, a_coupon_without_times_has_none_in_its_message) {
    struct coupon_detail detail = {.row = {.id = 7, .quantity = 10, .open_us = TIME_OPEN_START, .expire_us = 5000000},
                                   .name = "n",
                                   .create_us = 1000000};
    struct coupon_message message;
    coupon_message_init(&message, &detail, true);
    cr_expect_null(message.coupon.open_time);
    cr_expect_eq(message.coupon.expire_time->seconds, 5);
    cr_expect(message.coupon.available);
    detail.row.open_us = 0;
    detail.row.expire_us = TIME_OPEN_END;
    coupon_message_init(&message, &detail, false);
    cr_expect_eq(message.coupon.open_time->seconds, 0);
    cr_expect_null(message.coupon.expire_time);
    cr_expect_not(message.coupon.available);
}

/* --- refusals as a client receives them --- */

Test(answer, bad_fields_are_collected_up_to_as_many_as_the_bridge_names) {
    struct rpc_bad_fields bad = {0};
    for (int i = 0; i < 2 * RPC_BAD_FIELDS_MAX; i++)
        bad_fields_check(&bad, i % 2 == 0, "field", "problem");
    cr_assert_eq(bad.n, RPC_BAD_FIELDS_MAX);
    bad_fields_check(&bad, false, "one", "too many");
    cr_assert_eq(bad.n, RPC_BAD_FIELDS_MAX);
    cr_assert_str_eq(bad.list[RPC_BAD_FIELDS_MAX - 1].field, "field");
}

/* Returns a status's detail of a type, or NULL. Free it by protobuf_c_message_free_unpacked. */
static void *details_of(const struct rpc_status *status, const char *type,
                        const ProtobufCMessageDescriptor *descriptor) {
    Google__Rpc__Status *parsed = google__rpc__status__unpack(NULL, status->details_len, status->details);
    void *found = NULL;
    cr_assert_not_null(parsed);
    cr_expect_eq(parsed->code, status->code);
    for (size_t i = 0; i < parsed->n_details; i++)
        if (strstr(parsed->details[i]->type_url, type))
            found = protobuf_c_message_unpack(descriptor, NULL, parsed->details[i]->value.len,
                                              parsed->details[i]->value.data);
    google__rpc__status__free_unpacked(parsed, NULL);
    return found;
}

static void expect_reason(const struct rpc_status *status, const char *reason) {
    Google__Rpc__ErrorInfo *info = details_of(status, "google.rpc.ErrorInfo", &google__rpc__error_info__descriptor);
    cr_assert_not_null(info);
    cr_expect_str_eq(info->reason, reason);
    cr_expect_str_eq(info->domain, "coupon.v1");
    google__rpc__error_info__free_unpacked(info, NULL);
}

static const char *metadatum_of(const Google__Rpc__ErrorInfo *info, const char *key) {
    for (size_t i = 0; i < info->n_metadata; i++)
        if (strcmp(info->metadata[i]->key, key) == 0)
            return info->metadata[i]->value;
    return "(none)";
}

/* Sends a note whose first `n` tags are bad. */
static void send_bad_tags(int n, struct rpc_status *ret_status) {
    struct rpc_server_options options = toy_options(NULL);
    options.on_bad_fields = answer_on_bad_fields;
    struct toy *toy = toy_new(&options);
    static char bad[] = "\xff", good[] = "good", *tags[20];
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    for (int i = 0; i < 20; i++)
        tags[i] = i < n ? bad : good;
    note.tags = tags;
    note.n_tags = 20;
    cr_assert_not(rpc_client_call_wait(toy->stub, TOY_ECHO, &note.base, TOY_WAIT_MS, NULL, ret_status));
    toy_free(toy);
}

Test(answer, each_of_16_bad_string_fields_is_named) {
    struct rpc_status status;
    send_bad_tags(16, &status);
    cr_assert_eq(status.code, RPC_INVALID_ARGUMENT);
    expect_reason(&status, "INVALID_FIELD");
    Google__Rpc__BadRequest *request =
        details_of(&status, "google.rpc.BadRequest", &google__rpc__bad_request__descriptor);
    cr_assert_not_null(request);
    cr_assert_eq(request->n_field_violations, 16);
    for (size_t i = 0; i < 16; i++) {
        char name[16];
        snprintf(name, sizeof name, "tags[%zu]", i);
        cr_expect_str_eq(request->field_violations[i]->field, name);
        cr_expect_str_eq(request->field_violations[i]->description, "is not valid UTF-8");
    }
    google__rpc__bad_request__free_unpacked(request, NULL);
    rpc_status_deinit(&status);
}

Test(answer, a_single_bad_field_is_in_the_message_too) {
    struct rpc_status status;
    send_bad_tags(1, &status);
    cr_assert_str_eq(status.message, "tags[0]: is not valid UTF-8");
    rpc_status_deinit(&status);
}

Test(answer, a_message_that_has_no_room_for_all_bad_fields_says_how_many_more_there_are) {
    struct rpc_status status;
    send_bad_tags(9, &status);
    cr_expect_null(strstr(status.message, "more"), "%s", status.message);
    rpc_status_deinit(&status);
    send_bad_tags(16, &status);
    const char *last = strstr(status.message, "tags[8]: is not valid UTF-8; and 7 more");
    cr_expect(last && strlen(last) == strlen("tags[8]: is not valid UTF-8; and 7 more"), "%s", status.message);
    rpc_status_deinit(&status);
}

/* How the toy's Echo refuses. The test sets it before its call. */
static void (*refuse)(struct rpc_call *call);

static void echo_refused(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                         void *closure_data) {
    (void)service;
    (void)input;
    (void)closure;
    refuse(rpc_call_of(closure_data));
}

static void call_refused(void (*how)(struct rpc_call *call), struct rpc_status *ret_status) {
    struct toy *toy = toy_new(NULL);
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    refuse = how;
    toy->service.echo = echo_refused;
    cr_assert_not(rpc_client_call_wait(toy->stub, TOY_ECHO, &note.base, TOY_WAIT_MS, NULL, ret_status));
    toy_free(toy);
}

static void refuse_not_open(struct rpc_call *call) {
    const struct coupon coupon = {.id = 7, .exists = true, .open_us = 1700000000000000};
    answer_refusal(call, 7, REFUSAL_NOT_OPEN, &coupon);
}

Test(answer, a_coupon_that_is_not_open_yet_tells_when_it_opens) {
    struct rpc_status status;
    call_refused(refuse_not_open, &status);
    cr_assert_eq(status.code, reason_info(REASON_NOT_OPEN)->code);
    Google__Rpc__ErrorInfo *info = details_of(&status, "google.rpc.ErrorInfo", &google__rpc__error_info__descriptor);
    cr_assert_not_null(info);
    cr_expect_str_eq(info->reason, "NOT_OPEN");
    cr_expect_str_eq(metadatum_of(info, "coupon_id"), "7");
    cr_expect_eq(strstr(metadatum_of(info, "open_time"), "2023-11-14T22:13:20"), metadatum_of(info, "open_time"), "%s",
                 metadatum_of(info, "open_time"));
    google__rpc__error_info__free_unpacked(info, NULL);
    cr_expect_null(strchr(status.message, '{'), "%s", status.message);
    rpc_status_deinit(&status);
}

static void refuse_away(struct rpc_call *call) {
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, BACKEND_REDIS, "s3cret");
    answer_backend(call, &err);
}

static void refuse_broken(struct rpc_call *call) {
    struct err err;
    err_set(&err, ERR_REFUSED, BACKEND_POSTGRES, "s3cret");
    answer_backend(call, &err);
}

Test(answer, a_backend_that_is_away_may_be_tried_again_after_a_while) {
    struct rpc_status status;
    call_refused(refuse_away, &status);
    cr_assert_eq(status.code, RPC_UNAVAILABLE);
    cr_expect_str_eq(status.message, "redis can't be reached: try again");
    expect_reason(&status, "BACKEND_UNAVAILABLE");
    Google__Rpc__RetryInfo *retry = details_of(&status, "google.rpc.RetryInfo", &google__rpc__retry_info__descriptor);
    cr_assert_not_null(retry);
    cr_expect_eq(retry->retry_delay->seconds * 1000 + retry->retry_delay->nanos / 1000000,
                 reason_info(REASON_BACKEND_UNAVAILABLE)->retry_after_ms);
    google__rpc__retry_info__free_unpacked(retry, NULL);
    rpc_status_deinit(&status);
}

Test(answer, what_a_backend_refused_is_internal_and_its_text_is_for_the_log_alone) {
    struct rpc_status status;
    call_refused(refuse_broken, &status);
    cr_assert_eq(status.code, RPC_INTERNAL);
    cr_expect_str_eq(status.message, "postgres refused the operation");
    expect_reason(&status, "INTERNAL");
    cr_expect_null(details_of(&status, "google.rpc.RetryInfo", &google__rpc__retry_info__descriptor));
    rpc_status_deinit(&status);
}
