/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2 writes what is read here, and reads what is written. */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "edge/doorstep/hpack.h"

#define ROUNDS   3000
#define FIELDS   12
#define TEXT_MAX 1500

static uint64_t state = 1;

static unsigned random_below(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

/* A few short texts that repeat, and others of any bytes. */
static size_t random_text(char *room, bool is_name) {
    static const char *const common[] = {"te", "x-id", "content-type", ":path", "accept", "grpc-timeout", "cookie"};
    if (random_below(3) > 0) {
        const char *text = common[random_below(sizeof common / sizeof common[0])];
        memcpy(room, text, strlen(text));
        return strlen(text);
    }
    size_t len = random_below(20) == 0 ? random_below(TEXT_MAX) : random_below(40);
    for (size_t i = 0; i < len; i++)
        room[i] = (char)(is_name ? 'a' + (int)random_below(26) : (int)random_below(256));
    return len;
}

struct texts {
    char name[FIELDS][TEXT_MAX], value[FIELDS][TEXT_MAX];
    nghttp2_nv fields[FIELDS];
    size_t n;
};

static void make_fields(struct texts *texts) {
    texts->n = random_below(FIELDS + 1);
    for (size_t i = 0; i < texts->n; i++) {
        size_t name_len = random_text(texts->name[i], true), value_len = random_text(texts->value[i], false);
        texts->fields[i] = (nghttp2_nv){(uint8_t *)texts->name[i], (uint8_t *)texts->value[i], name_len, value_len,
                                        random_below(5) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
    }
}

static bool is_field(const nghttp2_nv *field, const char *name, size_t name_len, const char *value, size_t value_len) {
    return field->namelen == name_len && memcmp(field->name, name, name_len) == 0 && field->valuelen == value_len &&
           memcmp(field->value, value, value_len) == 0;
}

static void expect(nghttp2_hd_inflater *inflater, const uint8_t *block, size_t len, const struct texts *texts) {
    size_t n = 0;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, len, 1);
        cr_assert_geq(used, 0);
        block += used;
        len -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            const nghttp2_nv *wanted = &texts->fields[n++];
            cr_assert(is_field(&field, (char *)wanted->name, wanted->namelen, (char *)wanted->value, wanted->valuelen));
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
    cr_assert_eq(n, texts->n);
}

/* Blocks of a random client. The core gets each of them: as it came while the tables are the same, and written anew
 * after one was withheld. */
static void run(bool with_undo) {
    static struct texts texts;
    static char room[FIELDS * TEXT_MAX * 2];
    static uint8_t block[FIELDS * TEXT_MAX * 4], written[FIELDS * TEXT_MAX * 4];
    struct hpack_table *table = hpack_table_new();
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *core;
    nghttp2_hd_deflate_new(&deflater, HPACK_TABLE_BYTES);
    nghttp2_hd_inflate_new(&core);
    for (int round = 0; round < ROUNDS; round++) {
        struct hpack_block read;
        if (random_below(50) == 0)
            nghttp2_hd_deflate_change_table_size(deflater, random_below(3) ? HPACK_TABLE_BYTES : random_below(1000));
        make_fields(&texts);
        ssize_t len = nghttp2_hd_deflate_hd(deflater, block, sizeof block, texts.fields, texts.n);
        cr_assert_geq(len, 0);
        cr_assert(hpack_read(table, block, (size_t)len, room, sizeof room, &read));
        cr_assert_eq(read.n, texts.n);
        for (size_t i = 0; i < read.n; i++)
            cr_assert(is_field(&texts.fields[i], read.fields[i].name.at, read.fields[i].name.len,
                               read.fields[i].value.at, read.fields[i].value.len));
        bool is_withheld = round > 20 && random_below(3) == 0 && read.n_size_updates == 0;
        if (hpack_is_same(table)) {
            if (is_withheld && read.has_insertions)
                hpack_part(table, read.first_new);
            else if (!is_withheld)
                expect(core, block, (size_t)len, &texts);
            continue;
        }
        struct hpack_mark mark = hpack_mark(table);
        if (is_withheld && !with_undo)
            continue;
        size_t n = hpack_write(table, &read, written, sizeof written);
        cr_assert(n > 0 || texts.n == 0);
        if (is_withheld)
            hpack_unwrite(table, &mark);
        else
            expect(core, written, n, &texts);
    }
    cr_assert_not(hpack_is_same(table));
    hpack_table_free(table);
    nghttp2_hd_deflate_del(deflater);
    nghttp2_hd_inflate_del(core);
}

Test(hpack, core_reads_all_blocks_that_it_gets) {
    run(false);
}

Test(hpack, core_never_learns_what_was_taken_back) {
    run(true);
}

Test(hpack, wrong_blocks_are_refused) {
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
        {"\x80", 1},                         /* index 0 */
        {"\xbe", 1},                         /* an entry that is not there */
        {"\xff\xff\xff\xff\xff\xff\xff", 7}, /* a number without end */
        {"\x40", 1},                         /* no name */
        {"\x40\x05"
         "ab",
         4}, /* a name that is cut off */
        {"\x40\x01"
         "a",
         3}, /* no value */
        {"\x40\x01"
         "a\x82\x00",
         5}, /* a packed value that is cut off */
        {"\x40\x01"
         "a\x81\x00",
         5}, /* padding that is not of ones */
        {"\x40\x01"
         "a\x84\xff\xff\xff\xff",
         8},                 /* the end of a string within it */
        {"\x88\x20", 2},     /* a size amid the fields */
        {"\x3f\xe2\x1f", 3}, /* more than 4,096 bytes */
        {"\x20\x20\x20", 3}, /* three sizes */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct hpack_table *table = hpack_table_new();
        struct hpack_block block;
        char room[100];
        cr_assert_not(hpack_read(table, (const uint8_t *)wrong[i].bytes, wrong[i].len, room, sizeof room, &block),
                      "%zu", i);
        hpack_table_free(table);
    }
}

Test(hpack, random_bytes_do_no_harm) {
    for (int round = 0; round < 20000; round++) {
        struct hpack_table *table = hpack_table_new();
        struct hpack_block block;
        uint8_t bytes[64];
        char room[64];
        for (int blocks = 0; blocks < 3; blocks++) {
            size_t len = random_below(sizeof bytes);
            for (size_t i = 0; i < len; i++)
                bytes[i] = (uint8_t)random_below(256);
            if (!hpack_read(table, bytes, len, room, sizeof room, &block))
                break;
        }
        hpack_table_free(table);
    }
}

Test(hpack, more_than_fits_is_refused) {
    struct hpack_table *table = hpack_table_new();
    struct hpack_block block;
    uint8_t many[HPACK_FIELDS_MAX + 1];
    char room[10];
    memset(many, 0x88, sizeof many);
    cr_assert(hpack_read(table, many, HPACK_FIELDS_MAX, room, sizeof room, &block));
    cr_assert_not(hpack_read(table, many, sizeof many, room, sizeof room, &block));
    hpack_table_free(table);
}
