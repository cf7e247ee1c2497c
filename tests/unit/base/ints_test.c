/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ints.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(ints, numbers_sort_ascending_from_end_to_end) {
    int64_t numbers[] = {5, INT64_MAX, -1, INT64_MIN, 0};
    qsort(numbers, 5, sizeof *numbers, compare_int64);
    for (int i = 1; i < 5; i++)
        cr_assert_lt(numbers[i - 1], numbers[i]);
    cr_assert_eq(compare_int64(&numbers[0], &numbers[0]), 0);
}

Test(ints, a_hash_spreads_neighbors_over_the_low_bits) {
    enum { SLOTS = 64 };
    int hits[SLOTS] = {0}, most = 0;
    for (int64_t i = 0; i < 100 * SLOTS; i++) {
        int *hit = &hits[hash_int64(i * SLOTS) % SLOTS];
        most = ++*hit > most ? *hit : most;
    }
    cr_expect_lt(most, 200, "one of %d slots has %d of %d numbers", SLOTS, most, 100 * SLOTS);
}
