/* SPDX-License-Identifier: Apache-2.0 */
/* Answers; see answer.h. Errors that a crowd of clients gets are packed once and sent many times. */
#include "api/answer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/audit_log.h"
#include "api/rpc_trace.h"
#include "base/clock.h"
#include "base/memory.h"
#include "flow/counters.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define DOMAIN       "coupon.v1"
#define MAX_METADATA 4
#define MAX_DETAILS  3
#define MESSAGE_MAX  128 /* bytes of the table's longest text, with its metadata filled in and a NUL */

/* An error to send. The strings must stay valid until it is sent. */
struct answer {
    enum reason reason;
    int code;
    const char *message;
    const char *key[MAX_METADATA], *value[MAX_METADATA];
    size_t n_metadata;
    const struct rpc_bad_field *bad;
    size_t n_bad;
};

static struct answer answer_of(enum reason reason) {
    const struct reason_info *info = reason_info(reason);
    return (struct answer){.reason = reason, .code = info->code, .message = info->text};
}

static void with(struct answer *answer, const char *key, const char *value) {
    if (answer->n_metadata == MAX_METADATA)
        abort(); /* a defect: MAX_METADATA is too small for an answer of this file */
    answer->key[answer->n_metadata] = key;
    answer->value[answer->n_metadata++] = value;
}

/* Returns the value of the metadata whose key is the `len` bytes at `key`, or "". */
static const char *value_of(const struct answer *answer, const char *key, size_t len) {
    for (size_t i = 0; i < answer->n_metadata; i++)
        if (strlen(answer->key[i]) == len && memcmp(answer->key[i], key, len) == 0)
            return answer->value[i];
    return "";
}

/* Replaces each {NAME} in the answer's message by the metadata of that name. `room` then holds the message. */
static void fill_in(struct answer *answer, char room[static MESSAGE_MAX]) {
    size_t used = 0;
    const char *at = answer->message;
    while (*at && used < MESSAGE_MAX - 1) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        if (end) {
            int wrote =
                snprintf(room + used, MESSAGE_MAX - used, "%s", value_of(answer, at + 1, (size_t)(end - at - 1)));
            used += (size_t)wrote;
            at = end + 1;
        } else {
            room[used++] = *at++;
        }
    }
    room[used < MESSAGE_MAX ? used : MESSAGE_MAX - 1] = '\0';
    answer->message = room;
}

/* Packs a message into an Any. The caller frees any->value.data. */
static void pack_any(Google__Protobuf__Any *any, char *type_url, const ProtobufCMessage *message) {
    google__protobuf__any__init(any);
    any->type_url = type_url;
    any->value.len = protobuf_c_message_get_packed_size(message);
    any->value.data = memory_new(any->value.len + 1, 1);
    protobuf_c_message_pack(message, any->value.data);
}

/* Removes const: protobuf-c's fields are not const, but packing does not write to them. */
static char *mutable(const char *text) {
    return (char *)(uintptr_t)text;
}

static void pack_error_info(Google__Protobuf__Any *any, const struct answer *answer) {
    static char url[] = "type.googleapis.com/google.rpc.ErrorInfo";
    Google__Rpc__ErrorInfo__MetadataEntry entries[MAX_METADATA], *pointers[MAX_METADATA];
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = mutable(reason_info(answer->reason)->name);
    info.domain = mutable(DOMAIN);
    for (size_t i = 0; i < answer->n_metadata; i++) {
        google__rpc__error_info__metadata_entry__init(&entries[i]);
        entries[i].key = mutable(answer->key[i]);
        entries[i].value = mutable(answer->value[i]);
        pointers[i] = &entries[i];
    }
    info.n_metadata = answer->n_metadata;
    info.metadata = pointers;
    pack_any(any, url, &info.base);
}

static void pack_retry_info(Google__Protobuf__Any *any, int64_t delay_ms) {
    static char url[] = "type.googleapis.com/google.rpc.RetryInfo";
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    delay.seconds = delay_ms / 1000;
    delay.nanos = (int32_t)(delay_ms % 1000) * 1000000;
    info.retry_delay = &delay;
    pack_any(any, url, &info.base);
}

static void pack_bad_request(Google__Protobuf__Any *any, const struct answer *answer) {
    static char url[] = "type.googleapis.com/google.rpc.BadRequest";
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations = memory_new(answer->n_bad, sizeof *violations);
    Google__Rpc__BadRequest__FieldViolation **pointers = memory_new(answer->n_bad, sizeof *pointers);
    for (size_t i = 0; i < answer->n_bad; i++) {
        google__rpc__bad_request__field_violation__init(&violations[i]);
        violations[i].field = mutable(answer->bad[i].field);
        violations[i].description = mutable(answer->bad[i].problem);
        pointers[i] = &violations[i];
    }
    bad.n_field_violations = answer->n_bad;
    bad.field_violations = pointers;
    pack_any(any, url, &bad.base);
    free(violations);
    free(pointers);
}

/* Returns the serialized google.rpc.Status, which the caller frees. */
static uint8_t *pack_status(const struct answer *answer, size_t *ret_len) {
    Google__Protobuf__Any details[MAX_DETAILS], *pointers[MAX_DETAILS];
    size_t n = 0;
    pack_error_info(&details[n++], answer);
    if (reason_is_retriable(answer->reason))
        pack_retry_info(&details[n++], reason_info(answer->reason)->retry_after_ms);
    if (answer->n_bad)
        pack_bad_request(&details[n++], answer);
    for (size_t i = 0; i < n; i++)
        pointers[i] = &details[i];
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = answer->code;
    status.message = mutable(answer->message);
    status.n_details = n;
    status.details = pointers;
    *ret_len = google__rpc__status__get_packed_size(&status);
    uint8_t *bytes = memory_new(*ret_len, 1);
    google__rpc__status__pack(&status, bytes);
    for (size_t i = 0; i < n; i++)
        free(details[i].value.data);
    return bytes;
}

static void fail(struct rpc_call *call, const struct answer *answer, const uint8_t *bytes, size_t len) {
    counters_refused(answer->reason);
    audit_log_failed(call, answer->reason);
    rpc_trace_failed(call, answer->reason);
    rpc_call_fail(call, &(struct rpc_status){
                            .code = answer->code, .message = answer->message, .details = bytes, .details_len = len});
}

static void send(struct rpc_call *call, const struct answer *answer) {
    size_t len;
    uint8_t *bytes = pack_status(answer, &len);
    fail(call, answer, bytes, len);
    free(bytes);
}

/* A packed refusal, which is reused: when a coupon sells out, all its refusals are the same. */
struct refused {
    int64_t coupon_id, open_us;
    enum refusal refusal; /* REFUSAL_NONE: free */
    struct answer answer;
    char id[24], message[MESSAGE_MAX], open_time[28];
    uint8_t bytes[320];
    size_t len;
    bool has_early;
    struct rpc_refusal early;
};

static void pack_refusal(struct refused *refused, int64_t coupon_id, enum refusal refusal, int64_t open_us) {
    refused->coupon_id = coupon_id;
    refused->refusal = refusal;
    refused->open_us = open_us;
    snprintf(refused->id, sizeof refused->id, "%" PRId64, coupon_id);
    refused->answer = answer_of(reason_of_refusal(refusal));
    with(&refused->answer, "coupon_id", refused->id);
    if (refusal == REFUSAL_NOT_OPEN && open_us != TIME_OPEN_START)
        with(&refused->answer, "open_time", clock_format(open_us, refused->open_time));
    fill_in(&refused->answer, refused->message);
    uint8_t *bytes = pack_status(&refused->answer, &refused->len);
    if (refused->len > sizeof refused->bytes)
        abort(); /* a defect: `bytes` is too small, although ids and times have a greatest length */
    memcpy(refused->bytes, bytes, refused->len);
    free(bytes);
    const struct rpc_status status = {.code = refused->answer.code,
                                      .message = refused->answer.message,
                                      .details = refused->bytes,
                                      .details_len = refused->len};
    refused->has_early = rpc_refusal_make(&refused->early, &status, refused->answer.reason);
}

static const struct refused *refused_of(int64_t coupon_id, enum refusal refusal, const struct coupon *coupon) {
    static _Thread_local struct refused last[64]; /* a cache by coupon id */
    int64_t open_us = refusal == REFUSAL_NOT_OPEN && coupon ? coupon->open_us : TIME_OPEN_START;
    struct refused *refused = &last[(uint64_t)coupon_id % (sizeof last / sizeof last[0])];
    if (refused->coupon_id != coupon_id || refused->refusal != refusal || refused->open_us != open_us)
        pack_refusal(refused, coupon_id, refusal, open_us);
    return refused;
}

void answer_refusal(struct rpc_call *call, int64_t coupon_id, enum refusal refusal, const struct coupon *coupon) {
    const struct refused *refused = refused_of(coupon_id, refusal, coupon);
    fail(call, &refused->answer, refused->bytes, refused->len);
}

const struct rpc_refusal *answer_early(int64_t coupon_id, enum refusal refusal, const struct coupon *coupon) {
    const struct refused *refused = refused_of(coupon_id, refusal, coupon);
    return refused->has_early ? &refused->early : NULL;
}

static const char *state_name(const struct request_status *row) {
    return row->issue_us != NOT_ISSUED ? "STATE_ISSUED" : row->reject_reason ? "STATE_REJECTED" : "STATE_ACCEPTED";
}

void answer_already_requested(struct rpc_call *call, const struct request_status *row) {
    char ticket[24], id[24];
    snprintf(ticket, sizeof ticket, "%" PRId64, row->ticket);
    snprintf(id, sizeof id, "%" PRId64, row->coupon_id);
    struct answer answer = answer_of(REASON_ALREADY_REQUESTED);
    with(&answer, "coupon_id", id);
    with(&answer, "ticket", ticket);
    with(&answer, "state", state_name(row));
    send(call, &answer);
}

void answer_request_not_found(struct rpc_call *call, int64_t coupon_id, int64_t user_id) {
    char coupon[24], user[24];
    snprintf(coupon, sizeof coupon, "%" PRId64, coupon_id);
    snprintf(user, sizeof user, "%" PRId64, user_id);
    struct answer answer = answer_of(REASON_REQUEST_NOT_FOUND);
    with(&answer, "coupon_id", coupon);
    with(&answer, "user_id", user);
    send(call, &answer);
}

void answer_coupon_exists(struct rpc_call *call, int64_t coupon_id) {
    char id[24];
    snprintf(id, sizeof id, "%" PRId64, coupon_id);
    struct answer answer = answer_of(REASON_COUPON_EXISTS);
    with(&answer, "coupon_id", id);
    send(call, &answer);
}

void answer_reason(struct rpc_call *call, enum reason reason, const char *message) {
    struct answer answer = answer_of(reason);
    if (message)
        answer.message = message;
    send(call, &answer);
}

void answer_unauthenticated(struct rpc_call *call, const char *message) {
    struct answer answer = answer_of(REASON_PERMISSION);
    answer.code = reason_info(REASON_PERMISSION)->other_code;
    answer.message = message;
    send(call, &answer);
}

/* The packed OVERLOADED. It is always the same, and is sent when time is short, so it is packed once. */
static struct answer overloaded;
static uint8_t overloaded_bytes[256];
static size_t overloaded_len;

static void pack_overloaded(void) {
    overloaded = answer_of(REASON_OVERLOADED);
    uint8_t *bytes = pack_status(&overloaded, &overloaded_len);
    if (overloaded_len > sizeof overloaded_bytes)
        abort(); /* a defect: overloaded_bytes is too small for the constant text */
    memcpy(overloaded_bytes, bytes, overloaded_len);
    free(bytes);
}

void answer_overloaded(struct rpc_call *call) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    rpc_call_retry_after(call, reason_info(REASON_OVERLOADED)->retry_after_ms);
    pthread_once(&once, pack_overloaded);
    fail(call, &overloaded, overloaded_bytes, overloaded_len);
}

void answer_backend(struct rpc_call *call, const struct err *err) {
    char message[MESSAGE_MAX];
    if (!err->retriable) {
        /* The client learns which backend refused; only the log has the details. */
        snprintf(message, sizeof message, "%s refused the operation", backend_name(err->backend));
        answer_reason(call, REASON_INTERNAL, message);
        return;
    }
    struct answer answer = answer_of(REASON_BACKEND_UNAVAILABLE);
    with(&answer, "backend", backend_name(err->backend));
    fill_in(&answer, message);
    send(call, &answer);
}

void answer_stopping(struct rpc_call *call) {
    answer_reason(call, REASON_STOPPING, NULL);
}

void answer_dropped(struct rpc_call *call) {
    const struct reason_info *info = reason_info(REASON_DROPPED);
    bool is_late = clock_mono_us() >= rpc_call_deadline_us(call);
    counters_refused(REASON_DROPPED);
    audit_log_failed(call, REASON_DROPPED);
    rpc_call_fail(call, &(struct rpc_status){.code = is_late ? info->other_code : info->code, .message = info->text});
}

void answer_bad_fields(struct rpc_call *call, const struct rpc_bad_field *bad, size_t n) {
    char message[300];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(bad[i].field) + strlen(bad[i].problem) + strlen("; : ");
        if (i > 0 && used + len + strlen("; and NN more") >= sizeof message) {
            snprintf(message + used, sizeof message - used, "; and %zu more", n - i);
            break;
        }
        snprintf(message + used, sizeof message - used, "%s%s: %s", i ? "; " : "", bad[i].field, bad[i].problem);
        used = strlen(message);
    }
    struct answer answer = answer_of(REASON_INVALID_FIELD);
    answer.message = message;
    answer.bad = bad;
    answer.n_bad = n;
    send(call, &answer);
}

void bad_fields_check(struct rpc_bad_fields *bad, bool ok, const char *field, const char *problem) {
    if (!ok && bad->n < RPC_BAD_FIELDS_MAX)
        bad->list[bad->n++] = (struct rpc_bad_field){field, problem};
}

bool bad_fields_answer(const struct rpc_bad_fields *bad, struct rpc_call *call) {
    if (bad->n)
        answer_bad_fields(call, bad->list, bad->n);
    return bad->n > 0;
}

/* The range of google.protobuf.Timestamp: 0001-01-01 to 9999-12-31. */
#define TIMESTAMP_SECONDS_MIN INT64_C(-62135596800)
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799)

void timestamp_init(Google__Protobuf__Timestamp *timestamp, int64_t wall_us) {
    google__protobuf__timestamp__init(timestamp);
    int64_t seconds = wall_us / US_PER_S, rest = wall_us % US_PER_S;
    if (rest < 0) {
        seconds--;
        rest += US_PER_S;
    }
    /* Somebody may have written a later time into the table, e.g. infinity. Clients could not read it. */
    if (seconds < TIMESTAMP_SECONDS_MIN || seconds > TIMESTAMP_SECONDS_MAX) {
        seconds = seconds < 0 ? TIMESTAMP_SECONDS_MIN : TIMESTAMP_SECONDS_MAX;
        rest = 0;
    }
    timestamp->seconds = seconds;
    timestamp->nanos = (int32_t)rest * 1000;
}

bool timestamp_read(const Google__Protobuf__Timestamp *timestamp, int64_t *ret_wall_us) {
    if (timestamp->seconds < TIMESTAMP_SECONDS_MIN || timestamp->seconds > TIMESTAMP_SECONDS_MAX ||
        timestamp->nanos < 0 || timestamp->nanos > 999999999)
        return false;
    *ret_wall_us = timestamp->seconds * US_PER_S + timestamp->nanos / 1000;
    return true;
}

void status_message_init(struct status_message *message, const struct request_status *row) {
    Coupon__V1__PublishStatus *status = &message->status;
    coupon__v1__publish_status__init(status);
    status->coupon_id = row->coupon_id;
    status->user_id = row->user_id;
    status->request_id = mutable(row->request_id);
    status->ticket = row->ticket;
    timestamp_init(&message->accept_time, row->accept_us);
    status->accept_time = &message->accept_time;
    status->state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED;
    if (row->issue_us != NOT_ISSUED) {
        status->state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED;
        timestamp_init(&message->issue_time, row->issue_us);
        status->issue_time = &message->issue_time;
    } else if (row->reject_reason) {
        status->state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_REJECTED;
        status->reject_reason = (Coupon__V1__RejectReason)row->reject_reason;
    }
}

void coupon_message_init(struct coupon_message *message, const struct coupon_detail *detail, bool available) {
    const struct coupon *row = &detail->row;
    Coupon__V1__Coupon *coupon = &message->coupon;
    coupon__v1__coupon__init(coupon);
    coupon->id = row->id;
    coupon->name = mutable(detail->name);
    coupon->quantity = row->quantity;
    coupon->accepted = row->accepted;
    coupon->issued = row->issued;
    coupon->status = (Coupon__V1__Coupon__Status)row->status;
    coupon->discount_rate = detail->discount_rate;
    coupon->available = available;
    if (row->open_us != TIME_OPEN_START) {
        timestamp_init(&message->open_time, row->open_us);
        coupon->open_time = &message->open_time;
    }
    if (row->expire_us != TIME_OPEN_END) {
        timestamp_init(&message->expire_time, row->expire_us);
        coupon->expire_time = &message->expire_time;
    }
    timestamp_init(&message->create_time, detail->create_us);
    coupon->create_time = &message->create_time;
}

void answer_on_bad_fields(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad) {
    (void)arg;
    bad_fields_answer(bad, call);
}
