/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_slots.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(redis_slots, the_checksum_is_that_of_the_specification_of_redis_cluster) {
    cr_expect_eq(redis_crc16("123456789", 9), 0x31c3);
    cr_expect_eq(redis_crc16("", 0), 0);
}

/* As CLUSTER KEYSLOT of a real server answers. */
Test(redis_slots, keys_have_the_slots_that_redis_gives_them) {
    cr_expect_eq(redis_slot("foo"), 12182);
    cr_expect_eq(redis_slot("bar"), 5061);
    cr_expect_eq(redis_slot("coupon:available:1"), 3157);
    cr_expect_eq(redis_slot("coupon:available:9223372036854775807"), 13485);
}

Test(redis_slots, only_what_is_in_the_first_pair_of_braces_counts) {
    cr_expect_eq(redis_slot("{user1000}.following"), redis_slot("user1000"));
    cr_expect_eq(redis_slot("foo{bar}{zap}"), redis_slot("bar"));
    cr_expect_eq(redis_slot("foo{{bar}}zap"), redis_slot("{bar"));
    cr_expect_eq(redis_slot("foo{}{bar}"), redis_crc16("foo{}{bar}", 10) % REDIS_SLOTS,
                 "an empty pair counts for nothing");
    cr_expect_eq(redis_slot("foo{bar"), redis_crc16("foo{bar", 7) % REDIS_SLOTS);
}

Test(redis_slots, a_flag_and_its_version_have_one_slot) {
    for (long long id = 1; id < 1000000000000; id = id * 7 + 3) {
        char flag[64], version[128];
        snprintf(flag, sizeof flag, "coupon:available:%lld", id);
        snprintf(version, sizeof version, "coupon:available_version:{coupon:available:%lld}", id);
        cr_expect_eq(redis_slot(flag), redis_slot(version));
    }
}
