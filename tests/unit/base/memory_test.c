/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(memory, new_memory_is_zeroed_and_may_have_no_size) {
    unsigned char *bytes = memory_new(1000, 3);
    for (size_t i = 0; i < 3000; i++)
        cr_assert_eq(bytes[i], 0);
    free(bytes);
    void *none = memory_new(0, 8), *sizeless = memory_new(8, 0);
    cr_assert_not_null(none);
    cr_assert_not_null(sizeless);
    free(none);
    free(sizeless);
}

Test(memory, resizing_keeps_what_was_there) {
    int *numbers = memory_resize(NULL, 2, sizeof *numbers);
    numbers[0] = 7;
    numbers[1] = 8;
    numbers = memory_resize(numbers, 100000, sizeof *numbers);
    cr_assert_eq(numbers[0], 7);
    cr_assert_eq(numbers[1], 8);
    numbers = memory_resize(numbers, 0, sizeof *numbers);
    cr_assert_not_null(numbers);
    free(numbers);
}

Test(memory, a_copy_is_independent_of_its_original) {
    char text[] = "abc", *copy = memory_copy(text);
    text[0] = 'x';
    cr_assert_str_eq(copy, "abc");
    free(copy);
}

Test(memory, memory_that_a_library_got_is_passed_through) {
    int number;
    cr_assert_eq(memory_must(&number), &number);
}

Test(memory, memory_that_was_not_to_be_had_ends_the_process, .signal = SIGABRT) {
    memory_must(NULL);
}

/* A variable hides the size from the compiler. */
static volatile size_t too_many = SIZE_MAX / 2 + 2;

Test(memory, a_size_that_overflows_ends_the_process_and_does_not_wrap, .signal = SIGABRT) {
    memory_resize(NULL, too_many, 2);
}
