/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/murmur2.h"

/* The expected values are those of Kafka's UtilsTest.testMurmur2. */
Test(murmur2, agrees_with_the_known_values_of_the_java_client) {
    static const struct {
        const char *text;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        cr_expect_eq(murmur2(known[i].text, strlen(known[i].text)), (uint32_t)known[i].hash, "of %s", known[i].text);
}

Test(murmur2, takes_bytes_above_127_as_unsigned_and_any_alignment) {
    char shifted[9] = {0, (char)0xFF, (char)0x80, (char)0xC3, (char)0xA9, (char)0xFE, 0, 1, 2};
    char aligned[8];
    memcpy(aligned, shifted + 1, sizeof aligned);
    for (size_t len = 0; len <= sizeof aligned; len++)
        cr_expect_eq(murmur2(shifted + 1, len), murmur2(aligned, len));
    cr_expect_eq(murmur2(NULL, 0), murmur2("", 0));
}

Test(murmur2, a_slot_is_the_hash_without_its_sign_modulo_the_slots) {
    cr_expect_eq(murmur2_slot("21", 2, 8), (-973932308 & 0x7fffffff) % 8);
    cr_expect_eq(murmur2_slot("foobar", 6, 1000), (-790332482 & 0x7fffffff) % 1000);
    cr_expect_eq(murmur2_slot("foobar", 6, 1), 0);
}

Test(murmur2, the_slot_of_an_id_is_the_slot_of_its_decimal_text) {
    static const int64_t ids[] = {0, 1, 21, -1, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[24];
        int len = snprintf(text, sizeof text, "%" PRId64, ids[i]);
        cr_expect_eq(murmur2_slot_of_id(ids[i], 7), murmur2_slot(text, (size_t)len, 7), "of %s", text);
    }
}

Test(murmur2, ids_in_a_row_spread_over_all_slots) {
    int of_slot[8] = {0};
    for (int64_t id = 1; id <= 8000; id++)
        of_slot[murmur2_slot_of_id(id, 8)]++;
    for (int i = 0; i < 8; i++)
        cr_expect(of_slot[i] > 800 && of_slot[i] < 1200, "slot %d has %d", i, of_slot[i]);
}
