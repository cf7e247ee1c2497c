/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes the server accepts as a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw.h"
#include "rpc/message.h"
#include "rpc/utf8.h"
#include "toy.h"

static bool is_text(const char *text, size_t len) {
    bool has_nul;
    return utf8_check((const uint8_t *)text, len, &has_nul);
}

#define IS_TEXT(literal) is_text((literal), sizeof(literal) - 1)

Test(utf8, text_of_one_to_four_bytes_a_character_is_valid) {
    cr_assert(IS_TEXT(""));
    cr_assert(IS_TEXT("plain ASCII, longer than one word of the machine\x01\x7f"));
    cr_assert(IS_TEXT("ж\xc2\x80\xdf\xbf"));
    cr_assert(IS_TEXT("쿠폰\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"));
    cr_assert(IS_TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf, and then some more"));
}

Test(utf8, what_is_cut_overlong_a_surrogate_or_out_of_range_is_invalid) {
    const char *const bad[] = {"\x80",
                               "\xbf",
                               "\xc0\xaf",
                               "\xc1\xbf",
                               "\xc2",
                               "\xc2\x41",
                               "\xe0\x80\x80",
                               "\xe0\x9f\xbf",
                               "\xe1\x80",
                               "\xe1\x80\x41",
                               "\xed\xa0\x80",
                               "\xed\xbf\xbf",
                               "\xf0\x80\x80\x80",
                               "\xf0\x8f\xbf\xbf",
                               "\xf4\x90\x80\x80",
                               "\xf5\x80\x80\x80",
                               "\xff",
                               "\xfe",
                               "\xf1\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        for (int before = 0; before < 20; before++) {
            int len = snprintf(text, sizeof text, "%.*s%s", before, "abcdefghijklmnopqrstuvwxyz", bad[i]);
            cr_assert_not(is_text(text, (size_t)len), "number %zu at %d", i, before);
            len += snprintf(text + len, sizeof text - (size_t)len, "and more behind");
            cr_assert_not(is_text(text, (size_t)len), "number %zu at %d", i, before);
        }
    }
}

Test(utf8, a_nul_is_found_wherever_it_stands) {
    for (size_t at = 0; at < 40; at++) {
        uint8_t text[40];
        memset(text, 'x', sizeof text);
        text[at] = 0;
        bool has_nul = false;
        cr_assert_not(utf8_check(text, sizeof text, &has_nul));
        cr_assert(has_nul);
    }
}

/* The names and problems of a message's bad fields, one per line; or "malformed". */
static const char *check(const char *bytes, size_t len) {
    static char text[2000];
    struct arena arena;
    struct rpc_bad_fields bad;
    arena_init(&arena, 1000);
    text[0] = '\0';
    if (!message_check(&toy__v1__note__descriptor, (const uint8_t *)bytes, len, &arena, &bad))
        strcpy(text, "malformed");
    else
        for (size_t i = 0; i < bad.n; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s %s", i ? "\n" : "", bad.list[i].field,
                     bad.list[i].problem);
    arena_deinit(&arena);
    return text;
}

#define CHECK(literal) check((literal), sizeof(literal) - 1)

Test(message, each_bad_string_is_named_with_its_path) {
    cr_assert_str_eq(CHECK(""), "");
    cr_assert_str_eq(CHECK("\x0a\x02ok\x10\x01\x1a\x02\xff\0"), "", "bytes may be anything");
    cr_assert_str_eq(CHECK("\x0a\x03"
                           "a\0b"),
                     "text has a NUL character");
    cr_assert_str_eq(CHECK("\x22\x01x\x10\x05\x22\x01\xff\x22\x01\0"),
                     "tags[1] is not valid UTF-8\ntags[2] has a NUL character");
    cr_assert_str_eq(CHECK("\x2a\x05\x2a\x03\x0a\x01\xff"), "child.child.text is not valid UTF-8");
    cr_assert_str_eq(CHECK("\x32\x06\x0a\x01k\x12\x01\xff"), "words[0].value is not valid UTF-8");
    cr_assert_str_eq(CHECK("\x3a\x03\x0a\x01g\x3a\x03\x0a\x01\x80"), "labels[1].name is not valid UTF-8");
    cr_assert_str_eq(CHECK("\x52\x01\xc0"), "right is not valid UTF-8");
}

Test(message, no_more_bad_fields_are_named_than_anybody_reads) {
    const char tag[] = {0x22, 0x01, (char)0xff};
    char bytes[100 * sizeof tag];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = tag[i % sizeof tag];
    const char *text = check(bytes, sizeof bytes);
    cr_assert_neq(strstr(text, "tags[15]"), NULL);
    cr_assert_eq(strstr(text, "tags[16]"), NULL);
}

Test(message, what_is_cut_or_no_field_at_all_is_malformed) {
    cr_assert_str_eq(CHECK("\x0a"), "malformed");
    cr_assert_str_eq(CHECK("\x0a\x05hi"), "malformed");
    cr_assert_str_eq(CHECK("\x10"), "malformed");
    cr_assert_str_eq(CHECK("\x10\xff"), "malformed");
    cr_assert_str_eq(CHECK("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "malformed");
    cr_assert_str_eq(CHECK("\x00\x01"), "malformed");
    cr_assert_str_eq(CHECK("\x0b\x0c"), "malformed", "groups");
    cr_assert_str_eq(CHECK("\x9d\x06\x01\x02"), "malformed", "an unknown field of 32 bits");
    cr_assert_str_eq(CHECK("\x99\x06\x01\x02\x03\x04"), "malformed", "an unknown field of 64 bits");
    cr_assert_str_eq(CHECK("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), "malformed");
    cr_assert_str_eq(CHECK("\x2a\x02\x0a\x05"), "malformed", "within a child");
}

/* A message with `depth` levels of nesting. */
static size_t nest(char *bytes, size_t size, int depth) {
    size_t len = 0;
    for (int i = 1; i < depth; i++) {
        char head[8];
        size_t head_len = 0;
        head[head_len++] = 0x2a;
        for (size_t rest = len;; rest >>= 7) {
            head[head_len++] = (char)(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
            if (rest <= 0x7f)
                break;
        }
        memmove(bytes + head_len, bytes, len);
        memcpy(bytes, head, head_len);
        len += head_len;
        cr_assert_lt(len, size - 8);
    }
    return len;
}

Test(message, nesting_has_the_limit_that_protobuf_has) {
    static char bytes[1000];
    cr_assert_str_eq(check(bytes, nest(bytes, sizeof bytes, 100)), "");
    cr_assert_str_eq(check(bytes, nest(bytes, sizeof bytes, 101)), "malformed");
}

/* Pseudorandom numbers, the same in each run. */
static unsigned next_number(void) {
    static unsigned state = 1;
    state = state * 1103515245U + 12345U;
    return state >> 16;
}

Test(message, whatever_bytes_are_checked_without_harm) {
    for (int i = 0; i < 100000; i++) {
        char bytes[40];
        size_t len = next_number() % sizeof bytes;
        for (size_t j = 0; j < len; j++)
            bytes[j] = (char)(next_number() % 3 ? next_number() % 96 : next_number());
        char *exact = malloc(len + 1);
        memcpy(exact + 1, bytes, len);
        check(exact + 1, len);
        free(exact);
    }
}

/* --- by a server --- */

static int refusal(struct toy *toy, const char *bytes, size_t len, char message[static 1000]) {
    return raw_unary(rpc_server_address(toy->server), "/toy.v1.Toy/Echo", bytes, len, message);
}

#define REFUSAL(toy, literal, message) refusal((toy), (literal), sizeof(literal) - 1, (message))

Test(request, bad_text_is_refused_with_the_field_named) {
    struct toy *toy = toy_new(NULL);
    char message[1000];
    cr_assert_eq(REFUSAL(toy,
                         "\x0a\x03"
                         "a\0b",
                         message),
                 RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(message, "text has a NUL character");
    cr_assert_eq(REFUSAL(toy, "\x2a\x03\x0a\x01\xff", message), RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(message, "child.text is not valid UTF-8");
    toy_free(toy);
}

Test(request, what_cannot_be_decoded_is_an_invalid_argument_and_the_answer_names_the_type) {
    struct toy *toy = toy_new(NULL);
    char message[1000];
    cr_assert_eq(REFUSAL(toy, "\x0a\x05", message), RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(message, "cannot decode the request as toy.v1.Note");
    cr_assert_eq(REFUSAL(toy, "\x08\x05", message), RPC_INVALID_ARGUMENT, "a string that is a number");
    cr_assert_str_eq(message, "cannot decode the request as toy.v1.Note");
    toy_free(toy);
}

static void on_bad_fields(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad) {
    char text[200];
    snprintf(text, sizeof text, "%s %zu %s, %s; %s, %s", (const char *)arg, bad->n, bad->list[0].field,
             bad->list[0].problem, bad->list[1].field, bad->list[1].problem);
    rpc_call_fail(call, &(struct rpc_status){.code = RPC_INVALID_ARGUMENT, .message = text});
}

Test(request, the_owner_of_the_server_may_word_the_refusal_of_bad_text) {
    struct rpc_server_options options = toy_options(NULL);
    options.on_bad_fields = on_bad_fields;
    options.on_bad_fields_arg = "mine:";
    struct toy *toy = toy_new(&options);
    char message[1000];
    cr_assert_eq(REFUSAL(toy, "\x0a\x01\0\x22\x01\xff", message), RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(message, "mine: 2 text, has a NUL character; tags[0], is not valid UTF-8");
    toy_free(toy);
}

Test(request, one_that_is_too_large_is_refused) {
    struct toy *toy = toy_new(NULL);
    static char bytes[100001] = "\x1a\x9d\x8d\x06"; /* blob of 99997 bytes: with its head, one byte too many */
    char message[1000];
    cr_assert_eq(refusal(toy, bytes, 100001, message), RPC_RESOURCE_EXHAUSTED, "%s", message);
    toy_wait_for_in_flight(toy, 0);
    bytes[1] = (char)0x9c;
    cr_assert_eq(refusal(toy, bytes, 100000, message), RPC_OK, "%s", message);
    toy_free(toy);
}

/* The bytes of a Note with a text of that many letters, compressed by the core. */
static int compressed(struct toy *toy, size_t letters) {
    struct raw raw;
    static unsigned char answer[200000];
    unsigned char *bytes = malloc(letters + 5);
    const unsigned char head[] = {0x0a, (unsigned char)(0x80 | (letters & 0x7f)),
                                  (unsigned char)(0x80 | (letters >> 7 & 0x7f)), (unsigned char)(letters >> 14)};
    memset(bytes, 'a', letters + sizeof head);
    memcpy(bytes, head, sizeof head);
    raw_open_gzip(&raw, rpc_server_address(toy->server), "/toy.v1.Toy/Echo");
    raw_send(&raw, bytes, letters + sizeof head);
    raw_half_close(&raw);
    raw_receive(&raw, answer, sizeof answer);
    int code = raw_status(&raw);
    raw_close(&raw);
    free(bytes);
    return code;
}

Test(request, one_that_is_compressed_counts_as_large_as_it_is_unpacked) {
    struct toy *toy = toy_new(NULL);
    cr_assert_eq(compressed(toy, 20000), RPC_OK);
    cr_assert_eq(compressed(toy, 99996), RPC_OK, "100,000 bytes are allowed");
    cr_assert_eq(compressed(toy, 99997), RPC_RESOURCE_EXHAUSTED);
    cr_assert_eq(compressed(toy, 2000000), RPC_RESOURCE_EXHAUSTED);
    toy_free(toy);
}

static enum message_bytes_result unpack_gzip(const void *bytes, size_t len, size_t cut, const uint8_t **ret, size_t *n,
                                             struct arena *arena) {
    grpc_slice slices[2] = {grpc_slice_from_copied_buffer(bytes, cut),
                            grpc_slice_from_copied_buffer((const char *)bytes + cut, len - cut)};
    grpc_byte_buffer *buffer = grpc_raw_compressed_byte_buffer_create(slices, 2, GRPC_COMPRESS_GZIP);
    enum message_bytes_result result = message_bytes(buffer, 1000, arena, ret, n);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slices[0]);
    grpc_slice_unref(slices[1]);
    return result;
}

/* 1,000 times "a", compressed by gzip -9n. */
static const unsigned char thousand_a[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03,
                                           0x4b, 0x4c, 0x1c, 0x05, 0xa3, 0x60, 0x14, 0x0c, 0x77, 0x00,
                                           0x00, 0x03, 0xda, 0x38, 0x9a, 0xe8, 0x03, 0x00, 0x00};

Test(decompress, the_bytes_may_come_in_pieces) {
    struct arena arena;
    arena_init(&arena, 2048);
    for (size_t cut = 0; cut <= sizeof thousand_a; cut++) {
        const uint8_t *bytes;
        size_t n;
        cr_assert_eq(unpack_gzip(thousand_a, sizeof thousand_a, cut, &bytes, &n, &arena), MESSAGE_OK, "cut at %zu",
                     cut);
        cr_assert_eq(n, 1000);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(bytes[i], 'a');
        arena_reset(&arena);
    }
    arena_deinit(&arena);
}

Test(decompress, what_is_cut_short_or_changed_is_broken) {
    struct arena arena;
    arena_init(&arena, 2048);
    const uint8_t *bytes;
    size_t n;
    for (size_t len = 0; len < sizeof thousand_a; len++)
        cr_assert_eq(unpack_gzip(thousand_a, len, len / 2, &bytes, &n, &arena), MESSAGE_BROKEN, "%zu bytes", len);
    unsigned char changed[sizeof thousand_a];
    memcpy(changed, thousand_a, sizeof changed);
    changed[sizeof changed - 5] ^= 1; /* its checksum */
    cr_assert_eq(unpack_gzip(changed, sizeof changed, 3, &bytes, &n, &arena), MESSAGE_BROKEN);
    arena_deinit(&arena);
}
