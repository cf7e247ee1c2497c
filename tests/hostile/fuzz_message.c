/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a message's bytes through the steps before its service: decompress, check, decode. For libFuzzer and
 * fuzz_message_seeded.
 *
 * Besides doing no harm, it verifies that a valid message is still valid after it is packed and checked again. It also
 * reads the input as a page token and as a traceparent, which must do no harm either. */
#include "fuzz_message.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/events.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "rpc/message.h"
#include "rpc/utf8.h"

#define BYTES_MAX   65536 /* the default of grpc.max_message_bytes */
#define ARENA_BYTES 2048  /* as for a call */
#define PIECES_MAX  4

/* Messages that come from outside; a file descriptor, because it can nest without limit; and error details, because
 * they have maps and Any. */
const ProtobufCMessageDescriptor *const fuzz_descriptors[] = {
    &coupon__v1__create_coupon_request__descriptor,
    &coupon__v1__get_coupon_request__descriptor,
    &coupon__v1__list_coupons_request__descriptor,
    &coupon__v1__add_quantity_request__descriptor,
    &coupon__v1__request_publish_request__descriptor,
    &coupon__v1__watch_status_request__descriptor,
    &coupon__v1__list_user_coupons_request__descriptor,
    &coupon__v1__list_topics_request__descriptor,
    &coupon__v1__migrate_topics_request__descriptor,
    &coupon__v1__replay_dead_letters_request__descriptor,
    &coupon__v1__verify_coupon_request__descriptor,
    &coupon__v1__get_dead_letter_response__descriptor,
    &coupon__v1__publish_requested__descriptor,
    &coupon__v1__published__descriptor,
    &coupon__v1__list_coupons_response__descriptor,
    &coupon__v1__delete_topics_response__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
    &grpc__reflection__v1__server_reflection_request__descriptor,
    &google__protobuf__file_descriptor_proto__descriptor,
    &google__rpc__error_info__descriptor,
    &google__rpc__status__descriptor,
};
const size_t fuzz_messages = sizeof fuzz_descriptors / sizeof fuzz_descriptors[0];

static void must(bool holds) {
    if (!holds)
        abort(); /* the fuzzer takes an abort as a finding */
}

/* Cuts the bytes into slices, as the network may deliver them. */
static grpc_byte_buffer *buffer_of(const uint8_t *bytes, size_t size, unsigned how) {
    grpc_slice pieces[PIECES_MAX];
    size_t n = (how >> 2) % PIECES_MAX + 1, at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = i + 1 == n ? size - at : size / n;
        pieces[i] = grpc_slice_from_copied_buffer((const char *)bytes + at, len);
        at += len;
    }
    grpc_compression_algorithm compression = how % 4 == GRPC_COMPRESS_DEFLATE ? GRPC_COMPRESS_DEFLATE
                                             : how % 4 == GRPC_COMPRESS_GZIP  ? GRPC_COMPRESS_GZIP
                                                                              : GRPC_COMPRESS_NONE;
    grpc_byte_buffer *buffer = compression == GRPC_COMPRESS_NONE
                                   ? grpc_raw_byte_buffer_create(pieces, n)
                                   : grpc_raw_compressed_byte_buffer_create(pieces, n, compression);
    for (size_t i = 0; i < n; i++)
        grpc_slice_unref(pieces[i]);
    return buffer;
}

static void check_packed(const ProtobufCMessage *message, struct arena *arena) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(arena, size + 1);
    must(protobuf_c_message_pack(message, packed) == size);
    struct rpc_bad_fields bad = {0};
    must(message_check(message->descriptor, packed, size, arena, &bad) && bad.n == 0);
    must(message_unpack(message->descriptor, arena, packed, size) != NULL);
}

static void read_texts(const ProtobufCMessage *message) {
    if (message->descriptor != &coupon__v1__list_user_coupons_request__descriptor)
        return;
    const Coupon__V1__ListUserCouponsRequest *request = (const Coupon__V1__ListUserCouponsRequest *)message;
    fuzz_page(request->page_size, request->page_token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < FUZZ_HEAD)
        return 0;
    const ProtobufCMessageDescriptor *descriptor = fuzz_descriptors[data[0] % fuzz_messages];
    grpc_byte_buffer *buffer = buffer_of(data + FUZZ_HEAD, size - FUZZ_HEAD, data[1]);
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    const uint8_t *bytes = NULL;
    size_t len = 0;
    if (message_bytes(buffer, BYTES_MAX, &arena, &bytes, &len) == MESSAGE_OK) {
        must(len <= BYTES_MAX);
        struct rpc_bad_fields bad = {0};
        bool is_well_formed = message_check(descriptor, bytes, len, &arena, &bad);
        must(bad.n <= RPC_BAD_FIELDS_MAX);
        /* Unpack even if the check fails, because couponsd decodes events without a check. */
        ProtobufCMessage *message = message_unpack(descriptor, &arena, bytes, len);
        if (message && is_well_formed && bad.n == 0) {
            check_packed(message, &arena);
            read_texts(message);
        }
        fuzz_traceparent((const char *)bytes, len);
    }
    arena_deinit(&arena);
    grpc_byte_buffer_destroy(buffer);
    return 0;
}
