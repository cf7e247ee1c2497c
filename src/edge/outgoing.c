/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/outgoing.h"

#include <string.h>

#include "edge/http2.h"

/* HPACK: the dynamic table has 0 bytes from now on. */
#define TABLE_OF_0 0x20

static void begin_frame(struct outgoing *outgoing) {
    const uint8_t *header = outgoing->header;
    int type = header[TYPE_AT];
    outgoing->is_new = true;
    outgoing->payload_left = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    if (type == TYPE_DATA)
        atomic_fetch_add_explicit(&outgoing->data_bytes, outgoing->payload_left, memory_order_relaxed);
    if (type == TYPE_HEADERS)
        outgoing->n_blocks++;
    if (type == TYPE_HEADERS || type == TYPE_CONTINUATION)
        outgoing->in_block = !(header[FLAGS_AT] & FLAG_END_HEADERS);
    if (type == TYPE_GOAWAY)
        outgoing->is_ending = true;
}

/* The payload begins. */
static void begin_payload(struct outgoing *outgoing, const uint8_t *bytes) {
    if (outgoing->header[TYPE_AT] == TYPE_HEADERS && outgoing->n_blocks == 1)
        outgoing->leaves_table = *bytes == TABLE_OF_0;
}

void outgoing_follow(struct outgoing *outgoing, const uint8_t *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        bool in_header = outgoing->header_len < HEADER_LEN;
        size_t n = in_header ? (size_t)(HEADER_LEN - outgoing->header_len) : outgoing->payload_left;
        n = len - at < n ? len - at : n;
        if (in_header) {
            memcpy(outgoing->header + outgoing->header_len, bytes + at, n);
            outgoing->header_len += (uint8_t)n;
            if (outgoing->header_len == HEADER_LEN)
                begin_frame(outgoing);
        } else {
            if (outgoing->is_new)
                begin_payload(outgoing, bytes + at);
            outgoing->is_new = false;
            outgoing->payload_left -= (uint32_t)n;
        }
        at += n;
        if (outgoing->header_len == HEADER_LEN && outgoing->payload_left == 0) {
            outgoing->header_len = 0;
            outgoing->has_begun = true;
        }
    }
}

bool outgoing_is_between(const struct outgoing *outgoing) {
    return outgoing->header_len == 0 && !outgoing->in_block;
}
