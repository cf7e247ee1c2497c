/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes header blocks; see hpack.h.
 *
 * As long as the core gets each block that changes the table, its table is the client's. Then one such block is
 * withheld, and the numbers of the entries differ from then on. So each entry remembers its number in the core's
 * table. Whether the core still has it follows from the bytes that the core's table took in since: a dynamic table
 * drops its oldest entries. */
#include "edge/doorstep/hpack.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define STATIC_N 61
/* The leading bits of a representation (RFC 7541, 6), and how many bits of its first byte are left for a number. */
enum { INDEXED = 0x80, INDEXED_BITS = 7, INSERTED = 0x40, INSERTED_BITS = 6, SIZE_UPDATE = 0x20, SIZE_UPDATE_BITS = 5 };
enum { NEVER = 0x10, PLAIN = 0x00, PLAIN_BITS = 4, HUFFMAN = 0x80, STRING_BITS = 7 };
#define NUMBER_BYTES_MAX 5 /* of a number; larger ones are wrong */

#define TEXT(text)                                                                                                     \
    { text, sizeof(text) - 1 }

static const struct {
    struct hpack_text name, value;
} known[STATIC_N] = {
    {TEXT(":authority"), TEXT("")},
    {TEXT(":method"), TEXT("GET")},
    {TEXT(":method"), TEXT("POST")},
    {TEXT(":path"), TEXT("/")},
    {TEXT(":path"), TEXT("/index.html")},
    {TEXT(":scheme"), TEXT("http")},
    {TEXT(":scheme"), TEXT("https")},
    {TEXT(":status"), TEXT("200")},
    {TEXT(":status"), TEXT("204")},
    {TEXT(":status"), TEXT("206")},
    {TEXT(":status"), TEXT("304")},
    {TEXT(":status"), TEXT("400")},
    {TEXT(":status"), TEXT("404")},
    {TEXT(":status"), TEXT("500")},
    {TEXT("accept-charset"), TEXT("")},
    {TEXT("accept-encoding"), TEXT("gzip, deflate")},
    {TEXT("accept-language"), TEXT("")},
    {TEXT("accept-ranges"), TEXT("")},
    {TEXT("accept"), TEXT("")},
    {TEXT("access-control-allow-origin"), TEXT("")},
    {TEXT("age"), TEXT("")},
    {TEXT("allow"), TEXT("")},
    {TEXT("authorization"), TEXT("")},
    {TEXT("cache-control"), TEXT("")},
    {TEXT("content-disposition"), TEXT("")},
    {TEXT("content-encoding"), TEXT("")},
    {TEXT("content-language"), TEXT("")},
    {TEXT("content-length"), TEXT("")},
    {TEXT("content-location"), TEXT("")},
    {TEXT("content-range"), TEXT("")},
    {TEXT("content-type"), TEXT("")},
    {TEXT("cookie"), TEXT("")},
    {TEXT("date"), TEXT("")},
    {TEXT("etag"), TEXT("")},
    {TEXT("expect"), TEXT("")},
    {TEXT("expires"), TEXT("")},
    {TEXT("from"), TEXT("")},
    {TEXT("host"), TEXT("")},
    {TEXT("if-match"), TEXT("")},
    {TEXT("if-modified-since"), TEXT("")},
    {TEXT("if-none-match"), TEXT("")},
    {TEXT("if-range"), TEXT("")},
    {TEXT("if-unmodified-since"), TEXT("")},
    {TEXT("last-modified"), TEXT("")},
    {TEXT("link"), TEXT("")},
    {TEXT("location"), TEXT("")},
    {TEXT("max-forwards"), TEXT("")},
    {TEXT("proxy-authenticate"), TEXT("")},
    {TEXT("proxy-authorization"), TEXT("")},
    {TEXT("range"), TEXT("")},
    {TEXT("referer"), TEXT("")},
    {TEXT("refresh"), TEXT("")},
    {TEXT("retry-after"), TEXT("")},
    {TEXT("server"), TEXT("")},
    {TEXT("set-cookie"), TEXT("")},
    {TEXT("strict-transport-security"), TEXT("")},
    {TEXT("transfer-encoding"), TEXT("")},
    {TEXT("user-agent"), TEXT("")},
    {TEXT("vary"), TEXT("")},
    {TEXT("via"), TEXT("")},
    {TEXT("www-authenticate"), TEXT("")},
};

/* --- Huffman codes --- */

/* The code is canonical: symbols in the order of their codes' lengths, and of their values within a length, have
 * consecutive codes. So the lengths of appendix B are all of it. */
#define SYMBOLS  257 /* the bytes, and the end of a string, which may not occur */
#define BITS_MIN 5
#define BITS_MAX 30

static const uint8_t code_bits[SYMBOLS] = {
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6,  10, 10, 12, 13, 6,  8,  11, 10, 10, 8,  11, 8,  6,  6,  6,  5,  5,  5,  6,  6,  6,  6,  6,  6,  6,
    7,  8,  15, 6,  12, 10, 13, 6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
    7,  8,  7,  8,  13, 19, 13, 14, 6,  15, 5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,
    5,  6,  7,  7,  7,  7,  7,  15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24,
    24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22,
    23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26,
    27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23,
    22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30};

static uint16_t symbols[SYMBOLS]; /* in the order of their codes */
static struct {
    uint32_t first; /* the first code of this length */
    uint16_t at, n; /* its symbols: symbols[at] and the next ones */
} codes[BITS_MAX + 1];

static void init_codes(void) {
    uint32_t code = 0;
    uint16_t at = 0;
    for (unsigned bits = BITS_MIN; bits <= BITS_MAX; bits++) {
        codes[bits].first = code;
        codes[bits].at = at;
        for (uint16_t symbol = 0; symbol < SYMBOLS; symbol++)
            if (code_bits[symbol] == bits)
                symbols[at++] = symbol;
        codes[bits].n = (uint16_t)(at - codes[bits].at);
        code = (code + codes[bits].n) << 1;
    }
}

/* --- the table --- */

struct entry {
    uint64_t core_number; /* in the core's table; 0: it was never there */
    uint64_t core_before; /* the bytes that the core's table had taken in before */
    struct entry *next;   /* of those that were dropped */
    uint32_t name_len, value_len;
    char bytes[]; /* the name, then the value */
};

struct hpack_table {
    struct entry **ring; /* the entry of a number: ring[number & mask] */
    size_t mask, n;
    uint64_t newest; /* its number */
    size_t bytes, bytes_max;
    struct entry *dropped; /* by the current block, whose texts may lie in them */
    /* the core's table */
    bool is_other;
    uint64_t core_newest, core_bytes; /* the number of the newest entry; the bytes of all that it ever took in */
};

#define RING_MIN 8

struct hpack_table *hpack_table_new(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_codes);
    struct hpack_table *table = memory_new(1, sizeof *table);
    table->bytes_max = HPACK_TABLE_BYTES;
    table->mask = RING_MIN - 1;
    table->ring = memory_new(RING_MIN, sizeof *table->ring);
    return table;
}

static void free_dropped(struct hpack_table *table) {
    while (table->dropped) {
        struct entry *next = table->dropped->next;
        free(table->dropped);
        table->dropped = next;
    }
}

static size_t size_of(size_t name_len, size_t value_len) {
    return name_len + value_len + HPACK_OVERHEAD;
}

static size_t entry_size(const struct entry *entry) {
    return size_of(entry->name_len, entry->value_len);
}

/* NULL: the table has no such entry any more. */
static struct entry *entry_of(const struct hpack_table *table, uint64_t number) {
    return number <= table->newest && number + table->n > table->newest ? table->ring[number & table->mask] : NULL;
}

/* Drops the oldest entries, down to `bytes`. */
static void shrink(struct hpack_table *table, size_t bytes) {
    while (table->bytes > bytes) {
        struct entry *oldest = entry_of(table, table->newest - table->n + 1);
        table->bytes -= entry_size(oldest);
        table->n--;
        oldest->next = table->dropped;
        table->dropped = oldest;
    }
}

void hpack_table_free(struct hpack_table *table) {
    if (!table)
        return;
    shrink(table, 0);
    free_dropped(table);
    free(table->ring);
    free(table);
}

static void grow_ring(struct hpack_table *table) {
    size_t mask = 2 * table->mask + 1;
    struct entry **ring = memory_new(mask + 1, sizeof *ring);
    for (size_t i = 0; i < table->n; i++)
        ring[(table->newest - i) & mask] = table->ring[(table->newest - i) & table->mask];
    free(table->ring);
    table->ring = ring;
    table->mask = mask;
}

/* Makes the field an entry. One that is larger than the table empties it. */
static void insert(struct hpack_table *table, struct hpack_field *field) {
    size_t size = size_of(field->name.len, field->value.len);
    field->number = 0;
    shrink(table, size > table->bytes_max ? 0 : table->bytes_max - size);
    if (size > table->bytes_max)
        return;
    if (table->n > table->mask)
        grow_ring(table);
    struct entry *entry = memory_new(1, sizeof *entry + field->name.len + field->value.len);
    entry->name_len = (uint32_t)field->name.len;
    entry->value_len = (uint32_t)field->value.len;
    memcpy(entry->bytes, field->name.at, field->name.len);
    memcpy(entry->bytes + field->name.len, field->value.at, field->value.len);
    field->name.at = entry->bytes;
    field->value.at = entry->bytes + field->name.len;
    table->n++;
    table->bytes += size;
    field->number = ++table->newest;
    table->ring[table->newest & table->mask] = entry;
}

/* --- reading --- */

struct reader {
    const uint8_t *at, *end;
    char *room, *room_end;
};

/* A number whose first byte has `bits` bits for it (RFC 7541, 5.1). */
static bool read_number(struct reader *reader, int bits, size_t *ret_number) {
    size_t most = ((size_t)1 << bits) - 1, number = *reader->at++ & most;
    *ret_number = number;
    if (number < most)
        return true;
    for (int i = 0; i < NUMBER_BYTES_MAX && reader->at < reader->end; i++) {
        uint8_t byte = *reader->at++;
        number += (size_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

static bool unpack(struct reader *reader, size_t len, struct hpack_text *ret_text) {
    uint32_t code = 0;
    unsigned bits = 0;
    ret_text->at = reader->room;
    for (const uint8_t *end = reader->at + len; reader->at < end; reader->at++)
        for (int bit = 7; bit >= 0; bit--) {
            code = code << 1 | (uint32_t)(*reader->at >> bit & 1);
            bits++;
            if (bits > BITS_MAX)
                return false;
            if (bits < BITS_MIN || code - codes[bits].first >= codes[bits].n)
                continue;
            uint16_t symbol = symbols[codes[bits].at + code - codes[bits].first];
            if (symbol == SYMBOLS - 1 || reader->room == reader->room_end)
                return false;
            *reader->room++ = (char)symbol;
            code = bits = 0;
        }
    ret_text->len = (size_t)(reader->room - ret_text->at);
    return bits < 8 && code == ((uint32_t)1 << bits) - 1; /* the rest of the last byte is ones */
}

static bool read_text(struct reader *reader, struct hpack_text *ret_text) {
    size_t len;
    if (reader->at == reader->end)
        return false;
    bool is_packed = *reader->at & HUFFMAN;
    if (!read_number(reader, STRING_BITS, &len) || len > (size_t)(reader->end - reader->at))
        return false;
    if (is_packed)
        return unpack(reader, len, ret_text);
    *ret_text = (struct hpack_text){(const char *)reader->at, len};
    reader->at += len;
    return true;
}

/* Finds an entry by its index. */
static bool look_up(const struct hpack_table *table, size_t index, struct hpack_field *ret_field) {
    if (index == 0)
        return false;
    if (index <= STATIC_N) {
        *ret_field = (struct hpack_field){known[index - 1].name, known[index - 1].value, HPACK_STATIC, index};
        return true;
    }
    if (index - HPACK_DYNAMIC_FIRST >= table->n)
        return false;
    uint64_t number = table->newest - (index - HPACK_DYNAMIC_FIRST);
    const struct entry *entry = entry_of(table, number);
    *ret_field = (struct hpack_field){
        .name = {entry->bytes, entry->name_len},
        .value = {entry->bytes + entry->name_len, entry->value_len},
        .kind = HPACK_DYNAMIC,
        .number = number,
    };
    return true;
}

static bool read_literal(struct hpack_table *table, struct reader *reader, int bits, enum hpack_kind kind,
                         struct hpack_field *ret_field) {
    size_t index;
    if (!read_number(reader, bits, &index))
        return false;
    if (index == 0 ? !read_text(reader, &ret_field->name) : !look_up(table, index, ret_field))
        return false;
    if (!read_text(reader, &ret_field->value))
        return false;
    ret_field->kind = kind;
    return true;
}

static bool read_field(struct hpack_table *table, struct reader *reader, struct hpack_block *block) {
    struct hpack_field *field = &block->fields[block->n++];
    uint8_t first = *reader->at;
    size_t index;
    if (first & INDEXED)
        return read_number(reader, INDEXED_BITS, &index) && look_up(table, index, field);
    if (!(first & INSERTED))
        return read_literal(table, reader, PLAIN_BITS, first & NEVER ? HPACK_NEVER : HPACK_PLAIN, field);
    if (!read_literal(table, reader, INSERTED_BITS, HPACK_INSERTED, field))
        return false;
    insert(table, field);
    block->has_insertions = true;
    block->first_new = block->first_new ? block->first_new : field->number;
    return true;
}

static bool is_size_update(uint8_t first) {
    return (first & (INDEXED | INSERTED | SIZE_UPDATE)) == SIZE_UPDATE;
}

static bool read_size_update(struct hpack_table *table, struct reader *reader, struct hpack_block *block) {
    size_t size;
    if (block->n > 0 || block->n_size_updates == sizeof block->size_updates / sizeof block->size_updates[0] ||
        !read_number(reader, SIZE_UPDATE_BITS, &size) || size > HPACK_TABLE_BYTES)
        return false;
    block->size_updates[block->n_size_updates++] = size;
    table->bytes_max = size;
    shrink(table, size);
    return true;
}

bool hpack_read(struct hpack_table *table, const uint8_t *bytes, size_t len, char *room, size_t room_len,
                struct hpack_block *ret_block) {
    struct reader reader = {bytes, bytes + len, room, room + room_len};
    ret_block->n = ret_block->n_size_updates = 0;
    ret_block->has_insertions = false;
    ret_block->first_new = 0;
    free_dropped(table);
    while (reader.at < reader.end) {
        if (is_size_update(*reader.at)) {
            if (!read_size_update(table, &reader, ret_block))
                return false;
        } else if (ret_block->n == HPACK_FIELDS_MAX || !read_field(table, &reader, ret_block)) {
            return false;
        }
    }
    return true;
}

/* --- the core's table --- */

bool hpack_is_same(const struct hpack_table *table) {
    return !table->is_other;
}

void hpack_part(struct hpack_table *table, uint64_t first_new) {
    table->is_other = true;
    for (uint64_t number = table->newest - table->n + 1; number <= table->newest; number++) {
        struct entry *entry = entry_of(table, number);
        if (first_new && number >= first_new)
            break;
        entry->core_number = number;
        entry->core_before = table->core_bytes;
        table->core_bytes += entry_size(entry);
        table->core_newest = number;
    }
}

struct hpack_mark hpack_mark(const struct hpack_table *table) {
    return (struct hpack_mark){table->core_newest, table->core_bytes};
}

void hpack_unwrite(struct hpack_table *table, const struct hpack_mark *mark) {
    for (size_t i = 0; i < table->n && table->core_newest != mark->core_newest; i++) {
        struct entry *entry = entry_of(table, table->newest - i);
        if (entry->core_number > mark->core_newest)
            entry->core_number = 0;
    }
    table->core_newest = mark->core_newest;
    table->core_bytes = mark->core_bytes;
}

static bool core_has(const struct hpack_table *table, const struct entry *entry) {
    return entry->core_number != 0 && table->core_bytes - entry->core_before <= table->bytes_max;
}

static void note_core_insertion(struct hpack_table *table, struct entry *entry) {
    entry->core_number = ++table->core_newest;
    entry->core_before = table->core_bytes;
    table->core_bytes += entry_size(entry);
}

/* --- writing --- */

static uint8_t *put_number(uint8_t *at, int first, int bits, uint64_t number) {
    uint64_t most = ((uint64_t)1 << bits) - 1;
    if (number < most) {
        *at++ = (uint8_t)((uint64_t)first | number);
        return at;
    }
    *at++ = (uint8_t)((uint64_t)first | most);
    for (number -= most; number >= 0x80; number >>= 7)
        *at++ = (uint8_t)(number | 0x80);
    *at++ = (uint8_t)number;
    return at;
}

static uint8_t *put_text(uint8_t *at, struct hpack_text text) {
    at = put_number(at, 0, STRING_BITS, text.len);
    memcpy(at, text.at, text.len);
    return at + text.len;
}

static uint8_t *put_new(uint8_t *at, const uint8_t *end, int first, struct hpack_text name, struct hpack_text value) {
    if (!at || (size_t)(end - at) < 1 + 2 * NUMBER_BYTES_MAX + name.len + value.len)
        return NULL;
    *at++ = (uint8_t)first;
    return put_text(put_text(at, name), value);
}

uint8_t *hpack_put_literal(uint8_t *at, const uint8_t *end, bool remember, struct hpack_text name,
                           struct hpack_text value) {
    return put_new(at, end, remember ? INSERTED : PLAIN, name, value);
}

uint8_t *hpack_put_index(uint8_t *at, uint64_t index) {
    return put_number(at, INDEXED, INDEXED_BITS, index);
}

/* A field that is, or was, an entry of the client's table. */
static uint8_t *put_entry(struct hpack_table *table, const struct hpack_field *field, uint8_t *at, const uint8_t *end) {
    struct entry *entry = field->number ? entry_of(table, field->number) : NULL;
    if (!entry)
        return put_new(at, end, PLAIN, field->name, field->value);
    if (core_has(table, entry))
        return end - at < 8 ? NULL : hpack_put_index(at, HPACK_DYNAMIC_FIRST + table->core_newest - entry->core_number);
    note_core_insertion(table, entry);
    return put_new(at, end, INSERTED, field->name, field->value);
}

static uint8_t *put_field(struct hpack_table *table, const struct hpack_field *field, uint8_t *at, const uint8_t *end) {
    switch (field->kind) {
    case HPACK_STATIC:
        return end - at < 8 ? NULL : hpack_put_index(at, field->number);
    case HPACK_DYNAMIC:
    case HPACK_INSERTED:
        return put_entry(table, field, at, end);
    case HPACK_PLAIN:
        return put_new(at, end, PLAIN, field->name, field->value);
    case HPACK_NEVER:
        break;
    }
    return put_new(at, end, NEVER, field->name, field->value);
}

/* The core's table shrinks with the client's. Rather than find out what is left, this forgets all of it. */
static void forget_core(struct hpack_table *table) {
    for (size_t i = 0; i < table->n; i++)
        entry_of(table, table->newest - i)->core_number = 0;
}

size_t hpack_write(struct hpack_table *table, const struct hpack_block *block, uint8_t *room, size_t room_len) {
    uint8_t *at = room;
    const uint8_t *end = room + room_len;
    if (room_len < sizeof block->size_updates)
        return 0;
    for (size_t i = 0; i < block->n_size_updates; i++)
        at = put_number(at, SIZE_UPDATE, SIZE_UPDATE_BITS, block->size_updates[i]);
    if (block->n_size_updates > 0)
        forget_core(table);
    for (size_t i = 0; i < block->n && at; i++)
        at = put_field(table, &block->fields[i], at, end);
    return at ? (size_t)(at - room) : 0;
}
