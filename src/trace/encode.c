/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes spans; see encode.h. The messages of protobuf-c and all that they point to are in the arena. */
#include "trace/encode.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rpc_code.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#define NS_PER_US      1000
#define ATTRIBUTES_MAX 16
#define NAME_SIZE      (TRACE_TOPIC_SIZE + 16)
#define SCHEMA         "https://opentelemetry.io/schemas/1.24.0"

typedef Opentelemetry__Proto__Trace__V1__Span span_message;
typedef Opentelemetry__Proto__Common__V1__KeyValue attribute_message;

/* `operation` is the last word of the span's name, and messaging.operation. */
static const struct {
    const char *step, *operation;
    Opentelemetry__Proto__Trace__V1__Span__SpanKind kind;
    bool uses_kafka, uses_postgres;
} steps[TRACE_STEPS] = {
    [TRACE_REQUEST] = {"request", NULL, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_SERVER, 0, 0},
    [TRACE_GATE] = {"gate", NULL, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_INTERNAL, 0, 0},
    [TRACE_ADMIT] = {"admit", NULL, OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_INTERNAL, 0, 1},
    [TRACE_RELAY] = {"relay", "publish", OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_PRODUCER, 1, 0},
    [TRACE_ISSUE] = {"issue", "process", OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_CONSUMER, 1, 1},
    [TRACE_COMPLETE] = {"complete", "process", OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_CONSUMER, 1,
                        0},
};

/* Removes const: protobuf-c's fields are not const, but packing does not write to them. */
static char *mutable(const char *text) {
    return (char *)(uintptr_t)text;
}

/* --- attributes --- */

struct attributes {
    struct arena *arena;
    attribute_message **list; /* room for ATTRIBUTES_MAX */
    size_t n;
};

static struct attributes attributes_new(struct arena *arena) {
    return (struct attributes){arena, ARENA_ARRAY(arena, attribute_message *, ATTRIBUTES_MAX), 0};
}

static Opentelemetry__Proto__Common__V1__AnyValue *add(struct attributes *attributes, const char *key) {
    attribute_message *attribute = arena_alloc(attributes->arena, sizeof *attribute);
    opentelemetry__proto__common__v1__key_value__init(attribute);
    attribute->key = mutable(key);
    attribute->value = arena_alloc(attributes->arena, sizeof *attribute->value);
    opentelemetry__proto__common__v1__any_value__init(attribute->value);
    attributes->list[attributes->n++] = attribute;
    return attribute->value;
}

/* Adds nothing if the text is NULL. */
static void add_text(struct attributes *attributes, const char *key, const char *text) {
    if (!text)
        return;
    Opentelemetry__Proto__Common__V1__AnyValue *value = add(attributes, key);
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    value->string_value = mutable(text);
}

static void add_number(struct attributes *attributes, const char *key, int64_t number) {
    Opentelemetry__Proto__Common__V1__AnyValue *value = add(attributes, key);
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
    value->int_value = number;
}

/* At most ATTRIBUTES_MAX of them. */
static struct attributes attributes_of(struct arena *arena, const struct trace_span *span) {
    struct attributes attributes = attributes_new(arena);
    const bool uses_kafka = steps[span->step].uses_kafka;
    add_text(&attributes, "couponsd.step", steps[span->step].step);
    if (span->coupon_id)
        add_number(&attributes, "couponsd.coupon_id", span->coupon_id);
    if (span->ticket)
        add_number(&attributes, "couponsd.ticket", span->ticket);
    add_text(&attributes, "couponsd.outcome", span->outcome);
    add_text(&attributes, "couponsd.reason", span->reason);
    if (span->batch_size)
        add_number(&attributes, "couponsd.batch_size", span->batch_size);
    if (steps[span->step].uses_postgres)
        add_text(&attributes, "db.system", "postgresql");
    if (span->step == TRACE_REQUEST) {
        add_text(&attributes, "rpc.system", "grpc");
        add_text(&attributes, "rpc.service", span->service);
        add_text(&attributes, "rpc.method", span->method);
        add_number(&attributes, "rpc.grpc.status_code", span->code);
    }
    if (uses_kafka) {
        add_text(&attributes, "messaging.system", "kafka");
        add_text(&attributes, "messaging.operation", steps[span->step].operation);
        add_text(&attributes, "messaging.destination.name", span->topic);
    }
    if (uses_kafka && span->partition >= 0)
        add_number(&attributes, "messaging.kafka.destination.partition", span->partition);
    if (uses_kafka && span->offset >= 0)
        add_number(&attributes, "messaging.kafka.message.offset", span->offset);
    return attributes;
}

/* --- spans --- */

static char *name_of(struct arena *arena, const struct trace_span *span) {
    char name[NAME_SIZE];
    if (span->step == TRACE_REQUEST)
        snprintf(name, sizeof name, "%s/%s", span->service, span->method);
    else if (steps[span->step].uses_kafka)
        snprintf(name, sizeof name, "%s %s", span->topic, steps[span->step].operation);
    else
        snprintf(name, sizeof name, "%s", steps[span->step].step);
    return arena_strdup(arena, name);
}

static ProtobufCBinaryData bytes_of(const uint8_t *bytes, size_t len) {
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)bytes};
}

/* `ahead_us`: how far the wall clock is ahead of the monotonic one. */
static span_message *message_of(struct arena *arena, const struct trace_span *span, int64_t ahead_us) {
    static const uint8_t none[SPAN_ID_BYTES];
    span_message *message = arena_alloc(arena, sizeof *message);
    struct attributes attributes = attributes_of(arena, span);
    opentelemetry__proto__trace__v1__span__init(message);
    message->trace_id = bytes_of(span->trace_id, TRACE_ID_BYTES);
    message->span_id = bytes_of(span->span_id, SPAN_ID_BYTES);
    if (memcmp(span->parent_id, none, SPAN_ID_BYTES) != 0)
        message->parent_span_id = bytes_of(span->parent_id, SPAN_ID_BYTES);
    message->name = name_of(arena, span);
    message->kind = steps[span->step].kind;
    message->start_time_unix_nano = (uint64_t)(span->start_us + ahead_us) * NS_PER_US;
    message->end_time_unix_nano = (uint64_t)(span->end_us + ahead_us) * NS_PER_US;
    message->n_attributes = attributes.n;
    message->attributes = attributes.list;
    if (span->is_error) {
        message->status = arena_alloc(arena, sizeof *message->status);
        opentelemetry__proto__trace__v1__status__init(message->status);
        message->status->code = OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
        message->status->message = mutable(span->error[0] ? span->error : span->reason ? span->reason : "");
    }
    return message;
}

static struct attributes attributes_of_resource(struct arena *arena, const struct trace_resource *resource) {
    struct attributes attributes = attributes_new(arena);
    add_text(&attributes, "service.name", "couponsd");
    add_text(&attributes, "service.version", resource->version);
    add_text(&attributes, "service.instance.id", resource->instance_id);
    add_text(&attributes, "host.name", resource->host);
    add_number(&attributes, "process.pid", resource->pid);
    return attributes;
}

uint8_t *trace_encode(struct arena *arena, const struct trace_resource *resource, const struct trace_span *spans,
                      size_t n, size_t *ret_len) {
    Opentelemetry__Proto__Trace__V1__TracesData data = OPENTELEMETRY__PROTO__TRACE__V1__TRACES_DATA__INIT;
    Opentelemetry__Proto__Trace__V1__ResourceSpans of_resource = OPENTELEMETRY__PROTO__TRACE__V1__RESOURCE_SPANS__INIT;
    Opentelemetry__Proto__Trace__V1__ScopeSpans of_scope = OPENTELEMETRY__PROTO__TRACE__V1__SCOPE_SPANS__INIT;
    Opentelemetry__Proto__Resource__V1__Resource process = OPENTELEMETRY__PROTO__RESOURCE__V1__RESOURCE__INIT;
    Opentelemetry__Proto__Common__V1__InstrumentationScope scope =
        OPENTELEMETRY__PROTO__COMMON__V1__INSTRUMENTATION_SCOPE__INIT;
    Opentelemetry__Proto__Trace__V1__ResourceSpans *resources[] = {&of_resource};
    Opentelemetry__Proto__Trace__V1__ScopeSpans *scopes[] = {&of_scope};
    struct attributes attributes = attributes_of_resource(arena, resource);
    int64_t ahead_us = clock_wall_us() - clock_mono_us();
    process.n_attributes = attributes.n;
    process.attributes = attributes.list;
    scope.name = mutable("couponsd");
    scope.version = mutable(resource->version);
    of_scope.scope = &scope;
    of_scope.schema_url = mutable(SCHEMA);
    of_scope.n_spans = n;
    of_scope.spans = ARENA_ARRAY(arena, span_message *, n);
    for (size_t i = 0; i < n; i++)
        of_scope.spans[i] = message_of(arena, &spans[i], ahead_us);
    of_resource.resource = &process;
    of_resource.schema_url = mutable(SCHEMA);
    of_resource.n_scope_spans = 1;
    of_resource.scope_spans = scopes;
    data.n_resource_spans = 1;
    data.resource_spans = resources;
    *ret_len = opentelemetry__proto__trace__v1__traces_data__get_packed_size(&data);
    uint8_t *bytes = arena_alloc(arena, *ret_len);
    opentelemetry__proto__trace__v1__traces_data__pack(&data, bytes);
    return bytes;
}
