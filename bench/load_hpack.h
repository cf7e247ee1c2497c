/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks for bench_load: those of its requests, all alike, and those of answers, of which few differ.
 *
 * A request's headers are put into the server's table with the first request of a connection; each later one names them
 * by a byte each. Answers are inflated by libnghttp2, and what they said is remembered by their bytes: a block that
 * does not change the table says the same when it comes again, until a block comes that does change it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPACK_TABLE_DEFAULT  4096 /* RFC 9113, 6.5.2 */
#define HPACK_REQUEST_MAX    1024 /* bytes of a request's headers */
#define HPACK_NAME_MAX       255  /* of :path and :authority each */
#define HPACK_REASON_SIZE    48
#define HPACK_NO_GRPC_STATUS (-1)

struct hpack_request {
    uint8_t first[HPACK_REQUEST_MAX], next[HPACK_REQUEST_MAX];
    size_t n_first, n_next;
};

/* `table_size`: what the server's SETTINGS allow; where that is too little, each request carries its headers as text.
 * `timeout_ms` 0: no grpc-timeout. `path` and `authority` have at most HPACK_NAME_MAX bytes. */
void hpack_request_init(struct hpack_request *request, const char *path, const char *authority, int64_t timeout_ms,
                        uint32_t table_size);

/* What a header block says. */
struct hpack_head {
    int http_status; /* 0: none */
    int grpc_status; /* HPACK_NO_GRPC_STATUS: none */
    /* ErrorInfo.reason out of grpc-status-details-bin, empty: none; other than letters, digits and '_' is '?' */
    char reason[HPACK_REASON_SIZE];
};

struct hpack_reader; /* of one connection */

struct hpack_reader *hpack_reader_new(void); /* aborts without memory */
void hpack_reader_free(struct hpack_reader *reader);
/* Valid until the next block. NULL where the block is malformed; the connection is then of no use. */
const struct hpack_head *hpack_read(struct hpack_reader *reader, const uint8_t *block, size_t n);
