/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_message_seeded: mutates valid messages with a seeded generator and runs them through libFuzzer's entry point.
 *
 *   fuzz_message_seeded                runs INPUTS_MAX inputs, or fewer if SECONDS_MAX pass first
 *   fuzz_message_seeded --seeds DIR    writes valid messages to files in DIR, a corpus for libFuzzer to start from
 *
 * FUZZ_SEED is the seed. The same seed gives the same inputs in the same order. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "fuzz_message.h"

#define INPUTS_MAX    200000
#define SECONDS_MAX   5
#define SEED_DEFAULT  "20240229"
#define INPUT_MAX     8192
#define BODY_MAX      2048
#define MUTATIONS_MAX 8
#define RUN_MAX       16 /* bytes that a mutation drops, doubles or inserts */
#define DEPTH_MAX     4
#define SEEDS_EACH    8
#define BOMB_BYTES    100000
#define WINDOW_BITS   9 /* zlib's smallest; with more, allocation would take most of the time. Add 16 for gzip. */

struct bytes {
    size_t size;
    uint8_t data[INPUT_MAX];
};

/* xorshift64*: gives the same numbers on every machine. */
static uint64_t state;
static uint64_t next(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545F4914F6CDD1D);
}

static size_t below(size_t n) {
    return (size_t)(next() >> 33) % n;
}

/* --- valid messages, made from their descriptors --- */

static void put(struct bytes *out, const void *data, size_t size) {
    if (size > BODY_MAX - out->size)
        return; /* the message may then be invalid, which does no harm */
    memcpy(out->data + out->size, data, size);
    out->size += size;
}

static void put_varint(struct bytes *out, uint64_t value) {
    do {
        uint8_t byte = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        put(out, &byte, 1);
    } while (value >>= 7);
}

static void put_message(struct bytes *out, const ProtobufCMessageDescriptor *descriptor, int depth);

static void put_field(struct bytes *out, const ProtobufCFieldDescriptor *field, int depth) {
    static const char *const texts[] = {"", "a", "name", "7", "\xc3\xbc\xe2\x82\xac", "\xf0\x9f\x98\x80", "coupon.v1"};
    static const uint64_t numbers[] = {0, 1, 7, 1000, INT32_MAX, INT64_MAX, UINT64_MAX};
    uint64_t number = numbers[below(sizeof numbers / sizeof numbers[0])];
    const char *text = texts[below(sizeof texts / sizeof texts[0])];
    struct bytes inner;
    inner.size = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        if (depth > 0)
            put_message(&inner, field->descriptor, depth - 1);
        put_varint(out, field->id << 3 | 2);
        put_varint(out, inner.size);
        put(out, inner.data, inner.size);
        break;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        put_varint(out, field->id << 3 | 2);
        put_varint(out, strlen(text));
        put(out, text, strlen(text));
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        put_varint(out, field->id << 3 | 1);
        put(out, &number, 8);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        put_varint(out, field->id << 3 | 5);
        put(out, &number, 4);
        break;
    default:
        put_varint(out, field->id << 3);
        put_varint(out, number);
    }
}

static void put_message(struct bytes *out, const ProtobufCMessageDescriptor *descriptor, int depth) {
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        size_t times = field->label == PROTOBUF_C_LABEL_REPEATED ? below(4) : below(4) > 0;
        while (times-- > 0)
            put_field(out, field, depth);
    }
}

/* --- inputs --- */

static void compress_into(struct bytes *out, const struct bytes *plain, int window_bits) {
    z_stream zlib = {0};
    /* zlib fails only without memory, or if INPUT_MAX is too small for BODY_MAX: a defect of this program. */
    if (deflateInit2(&zlib, Z_BEST_SPEED, Z_DEFLATED, window_bits, 1, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    zlib.next_out = out->data + out->size;
    zlib.avail_out = (unsigned)(INPUT_MAX - out->size);
    /* Some inputs decompress to much more than the limit. */
    static uint8_t blanks[BOMB_BYTES];
    zlib.next_in = blanks;
    zlib.avail_in = below(64) ? 0 : sizeof blanks;
    if (zlib.avail_in && deflate(&zlib, Z_NO_FLUSH) != Z_OK)
        abort();
    zlib.next_in = (uint8_t *)(uintptr_t)plain->data;
    zlib.avail_in = (unsigned)plain->size;
    if (deflate(&zlib, Z_FINISH) != Z_STREAM_END)
        abort();
    deflateEnd(&zlib);
    out->size = INPUT_MAX - zlib.avail_out;
}

static void mutate(struct bytes *bytes, size_t from) {
    for (size_t n = below(MUTATIONS_MAX + 1); n > 0 && bytes->size > from; n--) {
        static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff};
        size_t at = from + below(bytes->size - from), left = bytes->size - at;
        size_t run = 1 + below(RUN_MAX), room = INPUT_MAX - bytes->size;
        run = run < left ? run : left;
        run = run < room ? run : room;
        uint8_t *here = bytes->data + at;
        switch (below(5)) {
        case 0:
            *here ^= (uint8_t)(1 << below(8));
            break;
        case 1:
            *here = special[below(sizeof special)];
            break;
        case 2:
            memmove(here, here + run, left - run);
            bytes->size -= run;
            break;
        case 3:
            memmove(here + run, here, left);
            bytes->size += run;
            break;
        default:
            for (size_t i = 0; i < run; i++)
                here[i] = (uint8_t)next();
        }
    }
}

/* Mutates the message before compression or after it. */
static void make_input(struct bytes *out, size_t which, unsigned how, bool is_valid) {
    struct bytes plain;
    plain.size = 0;
    put_message(&plain, fuzz_descriptors[which], DEPTH_MAX);
    bool late = below(2);
    if (!is_valid && !late)
        mutate(&plain, 0);
    out->data[0] = (uint8_t)which;
    out->data[1] = (uint8_t)how;
    out->size = FUZZ_HEAD;
    if (how % 4 == 1 || how % 4 == 2) {
        compress_into(out, &plain, how % 4 == 1 ? WINDOW_BITS : WINDOW_BITS + 16);
    } else {
        memcpy(out->data + FUZZ_HEAD, plain.data, plain.size);
        out->size += plain.size;
    }
    if (!is_valid && late)
        mutate(out, FUZZ_HEAD);
}

static int write_seeds(const char *dir) {
    struct bytes input;
    for (size_t i = 0; i < fuzz_messages * SEEDS_EACH; i++) {
        make_input(&input, i % fuzz_messages, (unsigned)below(16), true);
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%zu", dir, i);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(input.data, 1, input.size, file) != input.size || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *seed = getenv("FUZZ_SEED");
    seed = seed ? seed : SEED_DEFAULT;
    state = strtoull(seed, NULL, 10) | UINT64_C(1) << 63; /* never 0 */
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    printf("FUZZ_SEED=%s\n", seed);
    fflush(stdout); /* so that the seed is visible even if an input crashes the program */
    struct bytes input;
    size_t n = 0;
    int64_t end_us = clock_mono_us() + SECONDS_MAX * US_PER_S;
    for (; n < INPUTS_MAX && clock_mono_us() < end_us; n++) {
        size_t which = below(fuzz_messages);
        unsigned how = (unsigned)below(16);
        make_input(&input, which, how, below(16) == 0);
        LLVMFuzzerTestOneInput(input.data, input.size);
    }
    printf("%zu inputs\n", n);
    return 0;
}
