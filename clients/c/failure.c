/* SPDX-License-Identifier: Apache-2.0 */
/* Decodes the details of an error, google.rpc.Status; see coupons.h. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#include "coupons.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define DELAY_S_MAX 86400 /* longer delays are ignored as nonsense */
#define NS_PER_MS   1000000

static char *copy(const char *text) {
    return memory_copy(text ? text : "");
}

static struct coupons_pair *pairs_new(size_t n) {
    return memory_new(n + 1, sizeof(struct coupons_pair));
}

static void pairs_free(struct coupons_pair *pairs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(pairs[i].name);
        free(pairs[i].text);
    }
    free(pairs);
}

static void read_error_info(struct coupons_failure *failure, const ProtobufCBinaryData *value) {
    Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, value->len, value->data);
    if (!info)
        return;
    free(failure->reason);
    failure->reason = copy(info->reason);
    pairs_free(failure->metadata, failure->n_metadata);
    failure->metadata = pairs_new(info->n_metadata);
    failure->n_metadata = info->n_metadata;
    for (size_t i = 0; i < info->n_metadata; i++)
        failure->metadata[i] = (struct coupons_pair){copy(info->metadata[i]->key), copy(info->metadata[i]->value)};
    google__rpc__error_info__free_unpacked(info, NULL);
}

static void read_bad_request(struct coupons_failure *failure, const ProtobufCBinaryData *value) {
    Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(NULL, value->len, value->data);
    if (!bad)
        return;
    pairs_free(failure->fields, failure->n_fields);
    failure->fields = pairs_new(bad->n_field_violations);
    failure->n_fields = bad->n_field_violations;
    for (size_t i = 0; i < bad->n_field_violations; i++)
        failure->fields[i] =
            (struct coupons_pair){copy(bad->field_violations[i]->field), copy(bad->field_violations[i]->description)};
    google__rpc__bad_request__free_unpacked(bad, NULL);
}

static void read_retry_info(struct coupons_failure *failure, const ProtobufCBinaryData *value) {
    Google__Rpc__RetryInfo *retry = google__rpc__retry_info__unpack(NULL, value->len, value->data);
    if (!retry)
        return;
    const Google__Protobuf__Duration *delay = retry->retry_delay;
    if (delay && delay->seconds >= 0 && delay->seconds < DELAY_S_MAX && delay->nanos >= 0)
        failure->retry_after_ms = delay->seconds * 1000 + delay->nanos / NS_PER_MS;
    google__rpc__retry_info__free_unpacked(retry, NULL);
}

static void read_any(struct coupons_failure *failure, const Google__Protobuf__Any *any) {
    const char *slash = strrchr(any->type_url, '/');
    const char *type = slash ? slash + 1 : any->type_url;
    if (strcmp(type, "google.rpc.ErrorInfo") == 0)
        read_error_info(failure, &any->value);
    else if (strcmp(type, "google.rpc.BadRequest") == 0)
        read_bad_request(failure, &any->value);
    else if (strcmp(type, "google.rpc.RetryInfo") == 0)
        read_retry_info(failure, &any->value);
}

void coupons_failure_init(struct coupons_failure *failure, const struct rpc_status *status) {
    *failure = (struct coupons_failure){
        .code = status->code, .message = copy(status->message), .reason = copy(""), .retry_after_ms = -1};
    if (!status->details)
        return;
    Google__Rpc__Status *details = google__rpc__status__unpack(NULL, status->details_len, status->details);
    if (!details)
        return;
    for (size_t i = 0; i < details->n_details; i++)
        read_any(failure, details->details[i]);
    google__rpc__status__free_unpacked(details, NULL);
}

void coupons_failure_deinit(struct coupons_failure *failure) {
    free(failure->message);
    free(failure->reason);
    pairs_free(failure->metadata, failure->n_metadata);
    pairs_free(failure->fields, failure->n_fields);
    *failure = (struct coupons_failure){0};
}

const char *coupons_failure_metadata(const struct coupons_failure *failure, const char *name) {
    for (size_t i = 0; i < failure->n_metadata; i++)
        if (strcmp(failure->metadata[i].name, name) == 0)
            return failure->metadata[i].text;
    return NULL;
}

const char *coupons_failure_name(const struct coupons_failure *failure) {
    return *failure->reason ? failure->reason : rpc_code_name(failure->code);
}
