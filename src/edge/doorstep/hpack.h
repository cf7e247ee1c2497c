/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks of HTTP/2 (HPACK, RFC 7541) as the doorstep needs them: reads those of a client, and writes them anew
 * for the core, which may not have seen all of them. Bytes only; no sockets. One thread at a time for each table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPACK_TABLE_BYTES 4096 /* HTTP/2's default for a dynamic table, which the core keeps */
#define HPACK_OVERHEAD    32   /* bytes that an entry counts besides its name and value */
#define HPACK_FIELDS_MAX  256  /* fields of one block */

struct hpack_text {
    const char *at; /* not terminated */
    size_t len;
};

/* A field of a block. */
struct hpack_field {
    struct hpack_text name, value;
    enum hpack_kind {
        HPACK_STATIC,   /* an entry of the static table */
        HPACK_DYNAMIC,  /* an entry of the client's table */
        HPACK_INSERTED, /* new, and now an entry of the client's table */
        HPACK_PLAIN,    /* not to be remembered */
        HPACK_NEVER,    /* not to be remembered by anybody (RFC 7541, 6.2.3) */
    } kind;
    uint64_t number; /* STATIC: the index; DYNAMIC, INSERTED: the entry's number */
};

struct hpack_block {
    size_t n;
    struct hpack_field fields[HPACK_FIELDS_MAX];
    size_t size_updates[2]; /* at most two begin a block */
    size_t n_size_updates;
    bool has_insertions;
    uint64_t first_new; /* the number of its first new entry; 0: none, or too large for the table */
};

/* A client's dynamic table, and what of it the core's table has. Entries are numbered from 1, each table's own. */
struct hpack_table;
struct hpack_table *hpack_table_new(void);
/* NULL is fine. */
void hpack_table_free(struct hpack_table *table);

/* Reads a whole block and keeps its insertions. The texts are valid until the table reads again; they may lie in
 * `room`, where the block is unpacked to. False: the block is wrong, or does not fit into `room` or HPACK_FIELDS_MAX;
 * the table is then of no more use. */
bool hpack_read(struct hpack_table *table, const uint8_t *bytes, size_t len, char *room, size_t room_len,
                struct hpack_block *ret_block);
/* Whether the core's table is the client's: the core got each block that has insertions. */
bool hpack_is_same(const struct hpack_table *table);
/* The tables are the same, and the core will not get the block with these insertions that was read last. */
void hpack_part(struct hpack_table *table, uint64_t first_new);
/* Writes the block that was read last for the core, whose table is another one. Returns the length; 0: it does not
 * fit. */
size_t hpack_write(struct hpack_table *table, const struct hpack_block *block, uint8_t *room, size_t room_len);
/* The core will not get what was written since the mark was made. */
struct hpack_mark {
    uint64_t core_newest, core_bytes;
};
struct hpack_mark hpack_mark(const struct hpack_table *table);
void hpack_unwrite(struct hpack_table *table, const struct hpack_mark *mark);

/* Appends a field as a literal with a new name: to be remembered, or not. Returns the end; NULL: it does not fit. */
uint8_t *hpack_put_literal(uint8_t *at, const uint8_t *end, bool remember, struct hpack_text name,
                           struct hpack_text value);
/* Appends the index of an entry. `at` has room for 8 bytes. */
uint8_t *hpack_put_index(uint8_t *at, uint64_t index);
#define HPACK_DYNAMIC_FIRST 62 /* the index of the newest entry of a dynamic table */
