/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks for bench_load. Those of its requests are all alike, and those of answers differ little.
 *
 * The first request of a connection puts the headers into the server's table; each later request names each of them
 * with one byte. libnghttp2 inflates the answers. The reader remembers the meaning of a block by its bytes: a block
 * that does not change the table has the same meaning when it comes again, until another block changes the table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPACK_TABLE_DEFAULT  4096 /* RFC 9113, 6.5.2 */
#define HPACK_REQUEST_MAX    1024 /* bytes of a request's headers */
#define HPACK_NAME_MAX       255  /* of :path and :authority each */
#define HPACK_REASON_SIZE    48
#define HPACK_NO_GRPC_STATUS (-1)
#define HPACK_NO_RETRY       (-1)

struct hpack_request {
    uint8_t first[HPACK_REQUEST_MAX], next[HPACK_REQUEST_MAX];
    size_t n_first, n_next;
};

/* `table_size`: the limit in the server's SETTINGS; if it is too small, each request carries its headers as text.
 * `timeout_ms` 0: no grpc-timeout. `path` and `authority` have at most HPACK_NAME_MAX bytes. */
void hpack_request_init(struct hpack_request *request, const char *path, const char *authority, int64_t timeout_ms,
                        uint32_t table_size);

/* The meaning of a header block. */
struct hpack_head {
    int http_status; /* 0: none */
    int grpc_status; /* HPACK_NO_GRPC_STATUS: none */
    /* ErrorInfo.reason from grpc-status-details-bin; empty: none. Characters other than letters, digits and '_' become
     * '?'. */
    char reason[HPACK_REASON_SIZE];
    int64_t retry_ms; /* RetryInfo.retry_delay from the same header; HPACK_NO_RETRY: none */
};

struct hpack_reader; /* one per connection */

/* `n_memos`: how many blocks it remembers, a power of two. Aborts without memory. */
struct hpack_reader *hpack_reader_new(size_t n_memos);
void hpack_reader_free(struct hpack_reader *reader);
/* Reads a block. The result is valid until the next block. Returns NULL if the block is malformed, which makes the
 * connection unusable. */
const struct hpack_head *hpack_read(struct hpack_reader *reader, const uint8_t *block, size_t n);
