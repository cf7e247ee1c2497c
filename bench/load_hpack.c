/* SPDX-License-Identifier: Apache-2.0 */
/* Writes header blocks (RFC 7541), reads and remembers them; see load_hpack.h. */
#include "load_hpack.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "load_pb.h"

#define DYNAMIC_FIRST  62 /* the newest entry of the dynamic table */
#define ENTRY_OVERHEAD 32 /* RFC 7541, 4.1 */
#define DETAILS_MAX    4096

/* Indexes in the static table. */
enum { NAME_NEW = 0, NAME_AUTHORITY = 1, METHOD_POST = 3, NAME_PATH = 4, SCHEME_HTTP = 6 };
enum { NAME_CONTENT_TYPE = 31, NAME_USER_AGENT = 58 };

/* The leading bits of a representation, and how many bits of its first byte are left for a number. */
enum { INDEXED = 0x80, INDEXED_BITS = 7, INCREMENTAL = 0x40, INCREMENTAL_BITS = 6 };
enum { SIZE_UPDATE = 0x20, SIZE_UPDATE_BITS = 5, PLAIN = 0x00, PLAIN_BITS = 4, STRING_BITS = 7 };

/* --- requests --- */

static uint8_t *put_number(uint8_t *out, int first, int bits, size_t value) {
    size_t most = ((size_t)1 << bits) - 1;
    if (value < most) {
        *out++ = (uint8_t)((size_t)first | value);
        return out;
    }
    *out++ = (uint8_t)((size_t)first | most);
    return pb_put_varint(out, value - most);
}

static uint8_t *put_string(uint8_t *out, const char *text) {
    size_t n = strlen(text);
    out = put_number(out, 0, STRING_BITS, n);
    for (size_t i = 0; i < n; i++)
        *out++ = (uint8_t)text[i];
    return out;
}

void hpack_request_init(struct hpack_request *request, const char *path, const char *authority, int64_t timeout_ms,
                        uint32_t table_size) {
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%lldm", (long long)timeout_ms);
    const struct {
        size_t known;     /* name, in the static table */
        const char *name; /* for a name that is not in the static table */
        const char *value;
    } headers[] = {
        {NAME_PATH, ":path", path},
        {NAME_AUTHORITY, ":authority", authority},
        {NAME_NEW, "te", "trailers"},
        {NAME_CONTENT_TYPE, "content-type", "application/grpc"},
        {NAME_USER_AGENT, "user-agent", "bench_load"},
        {NAME_NEW, "grpc-timeout", timeout},
    };
    size_t n = sizeof headers / sizeof *headers - (timeout_ms == 0), room = 0;
    for (size_t i = 0; i < n; i++)
        room += strlen(headers[i].name) + strlen(headers[i].value) + ENTRY_OVERHEAD;
    bool is_indexed = room <= table_size;

    uint8_t *first = request->first, *next = request->next;
    if (table_size < HPACK_TABLE_DEFAULT)
        first = put_number(first, SIZE_UPDATE, SIZE_UPDATE_BITS, table_size);
    uint8_t *fields = first;
    first = put_number(first, INDEXED, INDEXED_BITS, METHOD_POST);
    first = put_number(first, INDEXED, INDEXED_BITS, SCHEME_HTTP);
    for (size_t i = 0; i < n; i++) {
        first = is_indexed ? put_number(first, INCREMENTAL, INCREMENTAL_BITS, headers[i].known)
                           : put_number(first, PLAIN, PLAIN_BITS, headers[i].known);
        if (headers[i].known == NAME_NEW)
            first = put_string(first, headers[i].name);
        first = put_string(first, headers[i].value);
    }
    if (is_indexed) {
        next = put_number(next, INDEXED, INDEXED_BITS, METHOD_POST);
        next = put_number(next, INDEXED, INDEXED_BITS, SCHEME_HTTP);
        for (size_t i = 0; i < n; i++)
            next = put_number(next, INDEXED, INDEXED_BITS, DYNAMIC_FIRST + (n - 1 - i));
    } else {
        memcpy(next, fields, (size_t)(first - fields));
        next += first - fields;
    }
    request->n_first = (size_t)(first - request->first);
    request->n_next = (size_t)(next - request->next);
}

/* --- answers --- */

/* Longer blocks are not remembered. */
#define MEMO_BYTES 480

struct memo {
    uint64_t generation;
    size_t n;
    struct hpack_head head;
    uint8_t block[MEMO_BYTES];
};

struct hpack_reader {
    nghttp2_hd_inflater *inflater;
    uint64_t generation; /* of the table; a memo of an older generation is invalid */
    struct hpack_head head;
    size_t n_memos;
    struct memo memos[];
};

struct hpack_reader *hpack_reader_new(size_t n_memos) {
    struct hpack_reader *reader = memory_new(1, sizeof *reader + n_memos * sizeof *reader->memos);
    reader->n_memos = n_memos;
    if (nghttp2_hd_inflate_new(&reader->inflater) != 0)
        abort(); /* it fails only without memory */
    reader->generation = 1;
    return reader;
}

void hpack_reader_free(struct hpack_reader *reader) {
    if (!reader)
        return;
    nghttp2_hd_inflate_del(reader->inflater);
    free(reader);
}

static size_t memo_hash(const uint8_t *block, size_t n) {
    uint64_t hash = n, word;
    for (; n >= sizeof word; block += sizeof word, n -= sizeof word) {
        memcpy(&word, block, sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, block, n);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return (size_t)(hash >> 32);
}

static bool skip_number(struct pb *in, int bits) {
    uint8_t most = (uint8_t)((1 << bits) - 1);
    uint64_t more;
    return in->at < in->end && ((*in->at++ & most) != most || pb_varint(in, &more));
}

static bool skip_string(struct pb *in) {
    uint64_t n, most = (1 << STRING_BITS) - 1;
    if (in->at == in->end)
        return false;
    n = *in->at++ & most;
    if (n == most) {
        if (!pb_varint(in, &n))
            return false;
        n += most;
    }
    return pb_skip(in, n);
}

/* Returns whether a valid block leaves the table unchanged: it neither adds an entry nor changes the table's size. */
static bool keeps_table(const uint8_t *block, size_t n) {
    struct pb in = {block, block + n};
    while (in.at < in.end) {
        uint8_t first = *in.at;
        if (first & INDEXED) {
            if (!skip_number(&in, INDEXED_BITS))
                return false;
            continue;
        }
        if (first & (INCREMENTAL | SIZE_UPDATE))
            return false;
        bool has_name = (first & ((1 << PLAIN_BITS) - 1)) == 0;
        if (!skip_number(&in, PLAIN_BITS) || (has_name && !skip_string(&in)) || !skip_string(&in))
            return false;
    }
    return true;
}

static int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes up to the padding or the first character that is not base64. */
static size_t base64_read(const uint8_t *text, size_t n, uint8_t out[static DETAILS_MAX]) {
    size_t n_out = 0;
    uint32_t bits = 0;
    int n_bits = 0;
    for (size_t i = 0; i < n && n_out < DETAILS_MAX; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            break;
        bits = bits << 6 | (uint32_t)value;
        if ((n_bits += 6) >= 8)
            out[n_out++] = (uint8_t)(bits >> (n_bits -= 8));
    }
    return n_out;
}

static bool find_bytes(struct pb in, uint64_t number, struct pb *ret_bytes) {
    struct pb_field field;
    while (in.at < in.end && pb_next(&in, &field))
        if (field.number == number && field.type == PB_BYTES) {
            *ret_bytes = field.bytes;
            return true;
        }
    return false;
}

static void read_reason(struct pb bytes, char ret_reason[static HPACK_REASON_SIZE]) {
    size_t n = 0;
    for (; bytes.at < bytes.end && n < HPACK_REASON_SIZE - 1; bytes.at++) {
        uint8_t c = *bytes.at;
        bool is_plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        ret_reason[n++] = is_plain ? (char)c : '?';
    }
    ret_reason[n] = '\0';
}

static bool is_type(struct pb type, const char *name) {
    size_t n = strlen(name);
    return (size_t)(type.end - type.at) >= n && memcmp(type.end - n, name, n) == 0;
}

/* RetryInfo { retry_delay = 1: Duration { seconds = 1, nanos = 2 } } */
static int64_t read_retry_ms(struct pb info) {
    struct pb delay = {0};
    struct pb_field field;
    uint64_t seconds = 0, nanos = 0;
    if (!find_bytes(info, 1, &delay))
        return 0;
    while (delay.at < delay.end && pb_next(&delay, &field)) {
        if (field.number == 1 && field.type == PB_VARINT)
            seconds = field.varint;
        else if (field.number == 2 && field.type == PB_VARINT)
            nanos = field.varint;
    }
    return (int64_t)(seconds * 1000 + nanos / 1000000);
}

/* google.rpc.Status { details = 3: Any { type_url = 1, value = 2: ErrorInfo { reason = 1 } or RetryInfo } } */
static void read_details(const uint8_t *text, size_t n, struct hpack_head *head) {
    uint8_t bytes[DETAILS_MAX];
    struct pb in = {bytes, bytes + base64_read(text, n, bytes)};
    struct pb_field field;
    while (in.at < in.end && pb_next(&in, &field)) {
        struct pb type, value, reason;
        if (field.number != 3 || field.type != PB_BYTES || !find_bytes(field.bytes, 1, &type) ||
            !find_bytes(field.bytes, 2, &value))
            continue;
        if (is_type(type, "/google.rpc.RetryInfo"))
            head->retry_ms = read_retry_ms(value);
        else if (is_type(type, "/google.rpc.ErrorInfo") && find_bytes(value, 1, &reason))
            read_reason(reason, head->reason);
    }
}

static bool is_name(const nghttp2_nv *header, const char *name) {
    return header->namelen == strlen(name) && memcmp(header->name, name, header->namelen) == 0;
}

static bool read_code(const nghttp2_nv *header, int *ret_code) {
    int code = 0;
    for (size_t i = 0; i < header->valuelen; i++) {
        if (header->value[i] < '0' || header->value[i] > '9' || i >= 3)
            return false;
        code = code * 10 + (header->value[i] - '0');
    }
    *ret_code = code;
    return header->valuelen > 0;
}

static bool inflate(struct hpack_reader *reader, const uint8_t *block, size_t n, struct hpack_head *ret_head) {
    struct hpack_head head = {.grpc_status = HPACK_NO_GRPC_STATUS, .retry_ms = HPACK_NO_RETRY};
    for (;;) {
        nghttp2_nv header;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(reader->inflater, &header, &flags, block, n, 1);
        if (used < 0)
            return false;
        block += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            if (is_name(&header, ":status") && !read_code(&header, &head.http_status))
                return false;
            if (is_name(&header, "grpc-status") && !read_code(&header, &head.grpc_status))
                return false;
            if (is_name(&header, "grpc-status-details-bin"))
                read_details(header.value, header.valuelen, &head);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
        if (used == 0 && !(flags & NGHTTP2_HD_INFLATE_EMIT))
            return false;
    }
    nghttp2_hd_inflate_end_headers(reader->inflater);
    *ret_head = head;
    return true;
}

const struct hpack_head *hpack_read(struct hpack_reader *reader, const uint8_t *block, size_t n) {
    bool fits = n <= MEMO_BYTES;
    struct memo *memo = &reader->memos[fits ? memo_hash(block, n) & (reader->n_memos - 1) : 0];
    if (fits && memo->generation == reader->generation && memo->n == n && memcmp(memo->block, block, n) == 0)
        return &memo->head;
    if (!inflate(reader, block, n, &reader->head))
        return NULL;
    if (!keeps_table(block, n)) {
        reader->generation++;
    } else if (fits) {
        memo->generation = reader->generation;
        memo->n = n;
        memo->head = reader->head;
        memcpy(memo->block, block, n);
    }
    return &reader->head;
}
