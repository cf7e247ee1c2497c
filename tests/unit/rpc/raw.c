/* SPDX-License-Identifier: Apache-2.0 */
#include "raw.h"

#include <criterion/criterion.h>
#include <grpc/byte_buffer_reader.h>
#include <stdint.h>
#include <string.h>

#include "rpc/core.h"

#define WAIT_S 20

enum { TAG_STATUS = 1, TAG_OTHER };

static bool wait_for(struct raw *raw, intptr_t tag) {
    for (;;) {
        gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(WAIT_S, GPR_TIMESPAN));
        grpc_event event = grpc_completion_queue_next(raw->queue, until, NULL);
        cr_assert_eq(event.type, GRPC_OP_COMPLETE, "waited in vain for an answer");
        if ((intptr_t)event.tag == TAG_STATUS)
            raw->is_status_due = false;
        if ((intptr_t)event.tag == tag)
            return event.success != 0;
    }
}

static void start(struct raw *raw, const grpc_op *ops, size_t n, intptr_t tag) {
    cr_assert_eq(grpc_call_start_batch(raw->call, ops, n, (void *)tag, NULL), GRPC_CALL_OK);
}

static void open_with(struct raw *raw, const char *address, const char *path, grpc_metadata *metadata, size_t n) {
    memset(raw, 0, sizeof *raw);
    grpc_init();
    raw->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_arg local = {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL};
    local.value.integer = 1;
    const grpc_channel_args args = {.num_args = 1, .args = &local};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    raw->channel = grpc_channel_create(address, credentials, &args);
    grpc_channel_credentials_release(credentials);
    raw->call =
        grpc_channel_create_call(raw->channel, NULL, GRPC_PROPAGATE_DEFAULTS, raw->queue,
                                 grpc_slice_from_static_string(path), NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_metadata_array_init(&raw->headers);
    grpc_metadata_array_init(&raw->trailers);
    raw->text = grpc_empty_slice();

    grpc_op ops[2] = {{.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    ops[0].data.recv_status_on_client.status = &raw->code;
    ops[0].data.recv_status_on_client.status_details = &raw->text;
    ops[0].data.recv_status_on_client.trailing_metadata = &raw->trailers;
    raw->is_status_due = true;
    start(raw, ops, 1, TAG_STATUS);
    grpc_op begin[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    begin[0].data.send_initial_metadata.count = n;
    begin[0].data.send_initial_metadata.metadata = metadata;
    begin[1].data.recv_initial_metadata.recv_initial_metadata = &raw->headers;
    start(raw, begin, 1, TAG_OTHER);
    wait_for(raw, TAG_OTHER);
    start(raw, begin + 1, 1, 0); /* not awaited: the headers may come later */
}

void raw_open(struct raw *raw, const char *address, const char *path, const char *toy, const char *toy_bin) {
    grpc_metadata metadata[2] = {
        {.key = grpc_slice_from_static_string("x-toy"), .value = grpc_slice_from_static_string(toy ? toy : "")},
        {.key = grpc_slice_from_static_string("x-toy-bin"), .value = grpc_slice_from_static_string(toy ? toy_bin : "")},
    };
    open_with(raw, address, path, metadata, toy ? 2 : 0);
}

void raw_open_gzip(struct raw *raw, const char *address, const char *path) {
    grpc_metadata metadata = {.key = grpc_slice_from_static_string("grpc-internal-encoding-request"),
                              .value = grpc_slice_from_static_string("gzip")};
    open_with(raw, address, path, &metadata, 1);
}

bool raw_send(struct raw *raw, const void *bytes, size_t len) {
    grpc_slice slice = grpc_slice_from_copied_buffer(bytes, len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = buffer;
    start(raw, &op, 1, TAG_OTHER);
    bool ok = wait_for(raw, TAG_OTHER);
    grpc_byte_buffer_destroy(buffer);
    return ok;
}

void raw_half_close(struct raw *raw) {
    const grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    start(raw, &op, 1, TAG_OTHER);
    wait_for(raw, TAG_OTHER);
}

long raw_receive(struct raw *raw, void *bytes, size_t size) {
    grpc_byte_buffer *buffer = NULL;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &buffer;
    start(raw, &op, 1, TAG_OTHER);
    wait_for(raw, TAG_OTHER);
    if (!buffer)
        return -1;
    grpc_byte_buffer_reader reader;
    cr_assert(grpc_byte_buffer_reader_init(&reader, buffer));
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    size_t len = GRPC_SLICE_LENGTH(slice);
    cr_assert_leq(len, size);
    memcpy(bytes, GRPC_SLICE_START_PTR(slice), len);
    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(buffer);
    return (long)len;
}

int raw_status(struct raw *raw) {
    if (raw->is_status_due)
        wait_for(raw, TAG_STATUS);
    size_t len = GRPC_SLICE_LENGTH(raw->text);
    len = len < sizeof raw->message - 1 ? len : sizeof raw->message - 1;
    memcpy(raw->message, GRPC_SLICE_START_PTR(raw->text), len);
    raw->message[len] = '\0';
    return (int)raw->code;
}

void raw_close(struct raw *raw) {
    grpc_call_cancel(raw->call, NULL);
    grpc_call_unref(raw->call);
    grpc_channel_destroy(raw->channel);
    grpc_completion_queue_shutdown(raw->queue);
    while (grpc_completion_queue_next(raw->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(raw->queue);
    grpc_metadata_array_destroy(&raw->headers);
    grpc_metadata_array_destroy(&raw->trailers);
    grpc_slice_unref(raw->text);
    grpc_shutdown_blocking();
}

int raw_unary(const char *address, const char *path, const void *bytes, size_t len, char message[static 1000]) {
    struct raw raw;
    raw_open(&raw, address, path, NULL, NULL);
    raw_send(&raw, bytes, len);
    static unsigned char response[200000];
    raw_receive(&raw, response, sizeof response);
    int code = raw_status(&raw);
    memcpy(message, raw.message, sizeof raw.message);
    raw_close(&raw);
    return code;
}
