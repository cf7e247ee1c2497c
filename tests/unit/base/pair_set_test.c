/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pair_set.h"

#include <criterion/criterion.h>

Test(pair_set, a_pair_is_new_once) {
    struct arena arena;
    struct pair_set pairs;
    arena_init(&arena, 4096);
    pair_set_init(&pairs, &arena, 10000);
    for (int64_t a = -50; a < 50; a++)
        for (int64_t b = 0; b < 100; b++) {
            cr_assert_not(pair_set_has(&pairs, a, b));
            cr_assert(pair_set_add(&pairs, a, b));
            cr_assert_not(pair_set_add(&pairs, a, b));
            cr_assert(pair_set_has(&pairs, a, b));
        }
    cr_assert_not(pair_set_has(&pairs, 0, 100));
    arena_deinit(&arena);
}

Test(pair_set, the_order_within_a_pair_matters_and_zeroes_are_a_pair) {
    struct arena arena;
    struct pair_set pairs;
    arena_init(&arena, 4096);
    pair_set_init(&pairs, &arena, 3);
    cr_assert(pair_set_add(&pairs, 1, 2));
    cr_assert_not(pair_set_has(&pairs, 2, 1));
    cr_assert_not(pair_set_has(&pairs, 0, 0));
    cr_assert(pair_set_add(&pairs, 0, 0));
    cr_assert_not(pair_set_add(&pairs, 0, 0));
    arena_deinit(&arena);
}
