/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/encode.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rpc_code.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

typedef Opentelemetry__Proto__Trace__V1__TracesData traces;
typedef Opentelemetry__Proto__Trace__V1__Span span_message;

static const struct trace_resource resource = {"1.2.3", "an-instance", "a-host", 77};

/* Encodes the spans, and decodes them with the generated code. */
static traces *round_trip(const struct trace_span *spans, size_t n) {
    struct arena arena;
    size_t len;
    arena_init(&arena, 4096);
    const uint8_t *bytes = trace_encode(&arena, &resource, spans, n, &len);
    traces *decoded = opentelemetry__proto__trace__v1__traces_data__unpack(NULL, len, bytes);
    arena_deinit(&arena);
    cr_assert_not_null(decoded);
    cr_assert_eq(decoded->n_resource_spans, 1);
    cr_assert_eq(decoded->resource_spans[0]->n_scope_spans, 1);
    cr_assert_eq(decoded->resource_spans[0]->scope_spans[0]->n_spans, n);
    return decoded;
}

static void end(traces *decoded) {
    opentelemetry__proto__trace__v1__traces_data__free_unpacked(decoded, NULL);
}

static const span_message *only_span(const traces *decoded) {
    return decoded->resource_spans[0]->scope_spans[0]->spans[0];
}

/* The value of an attribute as text, or "". */
static const char *value_of(Opentelemetry__Proto__Common__V1__KeyValue *const *list, size_t n, const char *key) {
    static char text[32];
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i]->key, key) != 0)
            continue;
        if (list[i]->value->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE)
            return list[i]->value->string_value;
        snprintf(text, sizeof text, "%lld", (long long)list[i]->value->int_value);
        return text;
    }
    return "";
}

static void expect(const span_message *span, const char *key, const char *value) {
    const char *found = value_of(span->attributes, span->n_attributes, key);
    cr_expect_str_eq(found, value, "%s is %s", key, found);
}

Test(trace_encode, names_the_process) {
    struct trace_span span = {.step = TRACE_GATE};
    traces *decoded = round_trip(&span, 1);
    const Opentelemetry__Proto__Resource__V1__Resource *process = decoded->resource_spans[0]->resource;
    static const char *const wanted[][2] = {{"service.name", "couponsd"},
                                            {"service.version", "1.2.3"},
                                            {"service.instance.id", "an-instance"},
                                            {"host.name", "a-host"},
                                            {"process.pid", "77"}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        cr_expect_str_eq(value_of(process->attributes, process->n_attributes, wanted[i][0]), wanted[i][1]);
    cr_expect_str_eq(decoded->resource_spans[0]->scope_spans[0]->scope->name, "couponsd");
    end(decoded);
}

Test(trace_encode, a_call_has_the_ids_times_and_attributes_of_rpcs) {
    int64_t now_us = clock_mono_us(), wall_us = clock_wall_us();
    struct trace_span span = {
        .trace_id = {1, [15] = 2},
        .span_id = {3, [7] = 4},
        .parent_id = {5, [7] = 6},
        .step = TRACE_REQUEST,
        .start_us = now_us - 1500,
        .end_us = now_us,
        .service = "a.v1.Service",
        .method = "Do",
        .code = RPC_FAILED_PRECONDITION,
        .reason = "SOLD_OUT",
        .partition = -1,
        .offset = -1,
    };
    traces *decoded = round_trip(&span, 1);
    const span_message *got = only_span(decoded);
    cr_expect_str_eq(got->name, "a.v1.Service/Do");
    cr_expect_eq(got->kind, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_SERVER);
    cr_assert_eq(got->trace_id.len, 16);
    cr_assert_eq(got->span_id.len, 8);
    cr_assert_eq(got->parent_span_id.len, 8);
    cr_expect_eq(memcmp(got->trace_id.data, span.trace_id, 16), 0);
    cr_expect_eq(memcmp(got->span_id.data, span.span_id, 8), 0);
    cr_expect_eq(memcmp(got->parent_span_id.data, span.parent_id, 8), 0);
    cr_expect_eq(got->end_time_unix_nano - got->start_time_unix_nano, 1500000);
    cr_expect_lt(llabs((long long)(got->end_time_unix_nano / 1000) - (long long)wall_us), US_PER_S);
    cr_expect_null(got->status, "a refusal is no error of the server");
    expect(got, "rpc.system", "grpc");
    expect(got, "rpc.service", "a.v1.Service");
    expect(got, "rpc.method", "Do");
    expect(got, "rpc.grpc.status_code", "9");
    expect(got, "couponsd.reason", "SOLD_OUT");
    expect(got, "messaging.system", "");
    end(decoded);
}

Test(trace_encode, a_step_that_consumes_has_the_attributes_of_messaging_and_its_error) {
    struct trace_span span = {
        .span_id = {1},
        .step = TRACE_ISSUE,
        .coupon_id = 42,
        .ticket = 5,
        .batch_size = 17,
        .outcome = "dead_letter",
        .topic = "a.topic",
        .partition = 0,
        .offset = 99,
    };
    trace_span_fail(&span, "why it is dead");
    traces *decoded = round_trip(&span, 1);
    const span_message *got = only_span(decoded);
    cr_expect_str_eq(got->name, "a.topic process");
    cr_expect_eq(got->kind, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_CONSUMER);
    cr_expect_eq(got->parent_span_id.len, 0, "the first span of a trace has no parent");
    cr_assert_not_null(got->status);
    cr_expect_eq(got->status->code, OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR);
    cr_expect_str_eq(got->status->message, "why it is dead");
    static const char *const wanted[][2] = {{"messaging.system", "kafka"},
                                            {"messaging.operation", "process"},
                                            {"messaging.destination.name", "a.topic"},
                                            {"messaging.kafka.destination.partition", "0"},
                                            {"messaging.kafka.message.offset", "99"},
                                            {"db.system", "postgresql"},
                                            {"couponsd.step", "issue"},
                                            {"couponsd.coupon_id", "42"},
                                            {"couponsd.ticket", "5"},
                                            {"couponsd.outcome", "dead_letter"},
                                            {"couponsd.batch_size", "17"}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        expect(got, wanted[i][0], wanted[i][1]);
    end(decoded);
}

Test(trace_encode, each_step_has_a_name_a_kind_and_no_more_attributes_than_fit) {
    struct trace_span spans[TRACE_STEPS];
    for (int step = 0; step < TRACE_STEPS; step++) {
        spans[step] = (struct trace_span){.span_id = {1},
                                          .step = (enum trace_step)step,
                                          .coupon_id = 1,
                                          .ticket = 2,
                                          .batch_size = 3,
                                          .outcome = "o",
                                          .reason = "r",
                                          .service = "s",
                                          .method = "m",
                                          .topic = "t"};
        memset(spans[step].topic, 't', TRACE_TOPIC_SIZE - 1);
    }
    traces *decoded = round_trip(spans, TRACE_STEPS);
    for (size_t i = 0; i < TRACE_STEPS; i++) {
        const span_message *got = decoded->resource_spans[0]->scope_spans[0]->spans[i];
        cr_expect_gt(strlen(got->name), 2);
        cr_expect_neq(got->kind, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_UNSPECIFIED);
        cr_expect_leq(got->n_attributes, 16);
    }
    end(decoded);
}
