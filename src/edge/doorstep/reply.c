/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/doorstep/reply.h"

#include <string.h>

#include "edge/doorstep/hpack.h"
#include "edge/http2.h"

#define STATUS_200 0x88 /* the static table's entry */
#define SIZE_OF_0  0x20 /* the table has 0 bytes from now on */

/* NULL: the client's table does not have the answer any more. */
static const struct remembered *find(const struct reply_table *table, uint64_t id) {
    for (size_t i = 0; i < REPLY_REMEMBERED; i++)
        if (table->recent[i].id == id && table->bytes - table->recent[i].before <= HPACK_TABLE_BYTES)
            return &table->recent[i];
    return NULL;
}

static void remember_it(struct reply_table *table, const struct edge_answer *answer) {
    table->recent[table->next] = (struct remembered){answer->id, table->n_inserted + 1, table->bytes};
    table->next = (table->next + 1) % REPLY_REMEMBERED;
    table->n_inserted += answer->n_fields;
    table->bytes += answer->table_bytes;
}

/* Clears the client's table, since the core has put entries into it. */
static uint8_t *clear_table(struct reply_table *table, uint32_t n_blocks, uint8_t *at) {
    static const uint8_t sizes_of_0_and_4096[] = {SIZE_OF_0, 0x3f, 0xe1, 0x1f};
    *table = (struct reply_table){.n_blocks = n_blocks};
    memcpy(at, sizes_of_0_and_4096, sizeof sizes_of_0_and_4096);
    return at + sizeof sizes_of_0_and_4096;
}

static uint8_t *put_literals(const struct edge_answer *answer, bool remember, uint8_t *at) {
    memcpy(at, answer->block, answer->len);
    for (size_t i = 0; i < answer->n_fields && !remember; i++)
        at[answer->starts[i]] = 0; /* a literal that is not remembered */
    return at + answer->len;
}

static size_t end_block(uint8_t *room, const uint8_t *end, uint32_t stream, enum reply_part part) {
    put_frame_header(room, (uint32_t)(end - room) - HEADER_LEN, TYPE_HEADERS,
                     FLAG_END_HEADERS | (part == REPLY_HEAD ? 0 : FLAG_END_STREAM), stream);
    return (size_t)(end - room);
}

size_t reply_write(struct reply_table *table, const struct edge_answer *answer, struct reply_use use, uint32_t stream,
                   enum reply_part part, uint8_t *room) {
    uint8_t *at = room + HEADER_LEN;
    bool remember = use.n_blocks > 0;
    if (use.clears)
        *at++ = SIZE_OF_0;
    if (remember && table->n_blocks != use.n_blocks)
        at = clear_table(table, use.n_blocks, at);
    const struct remembered *known = remember ? find(table, answer->id) : NULL;
    if (part != REPLY_TRAILERS)
        *at++ = STATUS_200;
    if (known) {
        for (uint64_t i = 0; i < answer->n_fields; i++)
            at = hpack_put_index(at, HPACK_DYNAMIC_FIRST + table->n_inserted - (known->first + i));
    } else {
        at = put_literals(answer, remember, at);
        if (remember)
            remember_it(table, answer);
    }
    return end_block(room, at, stream, part);
}

size_t reply_write_once(const struct edge_header *headers, size_t n, struct reply_use use, uint32_t stream,
                        enum reply_part part, uint8_t room[static REPLY_ONCE_MAX]) {
    const uint8_t *end = room + REPLY_ONCE_MAX;
    uint8_t *at = room + HEADER_LEN;
    if (use.clears)
        *at++ = SIZE_OF_0;
    if (part != REPLY_TRAILERS)
        *at++ = STATUS_200;
    for (size_t i = 0; i < n; i++) {
        const struct hpack_text name = {headers[i].name, strlen(headers[i].name)};
        const struct hpack_text value = {headers[i].value, strlen(headers[i].value)};
        uint8_t *next = hpack_put_literal(at, end, false, name, value);
        at = next ? next : at;
    }
    return end_block(room, at, stream, part);
}

size_t reply_write_message(const uint8_t *message, size_t len, uint32_t stream, uint8_t *room) {
    put_frame_header(room, (uint32_t)len, TYPE_DATA, 0, stream);
    memcpy(room + HEADER_LEN, message, len);
    return HEADER_LEN + len;
}

size_t reply_write_credit(uint32_t bytes, uint8_t *room) {
    put_frame_header(room, 4, TYPE_WINDOW_UPDATE, 0, 0);
    put_u32(room + HEADER_LEN, bytes);
    return REPLY_CREDIT_BYTES;
}
