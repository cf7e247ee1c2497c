/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/heart.h"

Test(heart, the_piece_of_work_that_takes_longest_is_found) {
    const char *name = "none";
    struct heart *first = heart_new("first"), *second = heart_new("second"), *third = heart_new("third");
    cr_assert_eq(hearts_longest(&name), 0, "all rest");
    cr_assert_str_eq(name, "none");
    heart_work(second);
    clock_sleep_us(2000);
    heart_work(first);
    clock_sleep_us(2000);
    cr_assert_geq(hearts_longest(&name), 4000);
    cr_assert_str_eq(name, "second");
    heart_work(second); /* the next piece */
    cr_assert_geq(hearts_longest(&name), 2000);
    cr_assert_str_eq(name, "first");
    heart_rest(first);
    heart_free(second);
    cr_assert_eq(hearts_longest(&name), 0);
    heart_free(first);
    heart_free(third);
    heart_work(NULL);
    heart_rest(NULL);
    heart_free(NULL);
}

Test(heart, a_long_loop_shows_that_it_goes_on) {
    const char *name = "none";
    struct heart *heart = heart_new("loop");
    heart_beat(); /* the thread has no piece of work */
    cr_assert_eq(hearts_longest(&name), 0);
    heart_work(heart);
    clock_sleep_us(50000);
    heart_beat();
    cr_assert_lt(hearts_longest(&name), 50000);
    heart_rest(heart);
    heart_beat();
    cr_assert_eq(hearts_longest(&name), 0);
    heart_free(heart);
    heart_beat();
}
