/* SPDX-License-Identifier: Apache-2.0 */
/* utf8_check against the definition: every code point, and every sequence of up to three bytes. message_test checks the
 * walk over messages. */
#include <criterion/criterion.h>
#include <string.h>

#include "rpc/utf8.h"

static size_t encode(uint32_t code, uint8_t *ret) {
    if (code < 0x80) {
        ret[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        ret[0] = (uint8_t)(0xc0 | code >> 6);
        ret[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        ret[0] = (uint8_t)(0xe0 | code >> 12);
        ret[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        ret[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    ret[0] = (uint8_t)(0xf0 | code >> 18);
    ret[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    ret[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    ret[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

static bool is_scalar(uint32_t code) {
    return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

/* Whether the bytes are the encodings of scalar values without NUL, found by decoding and encoding again. */
static bool is_valid(const uint8_t *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        uint8_t first = bytes[at], again[4];
        size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (at + n > len)
            return false;
        uint32_t code = n == 1 ? first : first & (0x7fu >> n);
        for (size_t i = 1; i < n; i++)
            code = code << 6 | (bytes[at + i] & 0x3f);
        if (!is_scalar(code) || encode(code, again) != n || memcmp(again, bytes + at, n) != 0)
            return false;
        at += n;
    }
    return true;
}

static bool check(const uint8_t *bytes, size_t len) {
    bool has_nul;
    return utf8_check(bytes, len, &has_nul);
}

Test(utf8, accepts_each_scalar_value_and_no_other_code) {
    uint8_t bytes[4];
    for (uint32_t code = 0; code <= 0x1fffff; code++)
        cr_assert_eq(check(bytes, encode(code, bytes)), is_scalar(code), "U+%X", code);
}

Test(utf8, agrees_with_the_definition_on_every_sequence_of_three_bytes) {
    for (uint32_t value = 0; value < 1u << 24; value++) {
        uint8_t bytes[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
        if (check(bytes, 3) != is_valid(bytes, 3))
            cr_assert_fail("%02x %02x %02x", bytes[0], bytes[1], bytes[2]);
    }
}

Test(utf8, finds_a_bad_byte_at_each_place_of_a_long_text) {
    static const struct {
        uint8_t byte;
        bool is_nul;
    } bad[] = {{0x00, true}, {0x80, false}, {0xff, false}, {0xc3, false}};
    uint8_t text[40];
    for (size_t at = 0; at < sizeof text; at++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            bool has_nul = !bad[i].is_nul;
            memset(text, 'a', sizeof text);
            cr_assert(utf8_check(text, sizeof text, &has_nul));
            text[at] = bad[i].byte;
            cr_assert_not(utf8_check(text, sizeof text, &has_nul), "%02x at %zu", bad[i].byte, at);
            cr_assert_eq(has_nul, bad[i].is_nul);
        }
    }
}

Test(utf8, a_sequence_cut_off_at_the_end_is_refused) {
    uint8_t bytes[16];
    static const uint32_t codes[] = {0xe9, 0x20ac, 0x1f600};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        size_t len = encode(codes[i], bytes);
        for (size_t cut = 1; cut < len; cut++)
            cr_assert_not(check(bytes, cut));
    }
    cr_assert(check(bytes, 0), "an empty text is valid");
}
