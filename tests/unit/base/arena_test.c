/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

Test(arena, pieces_are_aligned_and_do_not_overlap) {
    struct arena arena;
    arena_init(&arena, 256);
    unsigned char *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&arena, i);
        cr_assert_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i; j++)
            cr_assert_eq(pieces[i][j], i);
    }
    arena_deinit(&arena);
}

Test(arena, a_piece_larger_than_a_block_is_served) {
    struct arena arena;
    arena_init(&arena, 64);
    char *large = arena_alloc(&arena, 100000);
    char *small = arena_alloc(&arena, 8);
    memset(large, 1, 100000);
    memset(small, 2, 8);
    cr_expect_eq(large[99999], 1);
    arena_reset(&arena);
    cr_expect_not_null(arena_alloc(&arena, 100000));
    arena_deinit(&arena);
}

Test(arena, zeroed_memory_is_zero_also_after_a_reset) {
    struct arena arena;
    arena_init(&arena, 128);
    memset(arena_alloc(&arena, 100), 0xFF, 100);
    arena_reset(&arena);
    unsigned char *piece = arena_zalloc(&arena, 100);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(piece[i], 0);
    arena_deinit(&arena);
}

Test(arena, a_reset_hands_out_the_same_blocks_again) {
    struct arena arena;
    arena_init(&arena, 128);
    void *before[10], *after[10];
    for (int i = 0; i < 10; i++)
        before[i] = arena_alloc(&arena, 100);
    arena_alloc(&arena, 1000); /* invalidated by the reset */
    arena_reset(&arena);
    for (int i = 0; i < 10; i++)
        after[i] = arena_alloc(&arena, 100);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(before[i], after[i]);
    arena_deinit(&arena);
}

Test(arena, strings_are_copied_with_their_end) {
    struct arena arena;
    arena_init(&arena, 64);
    char text[] = "coupon";
    char *copy = arena_strdup(&arena, text);
    text[0] = 'x';
    cr_expect_str_eq(copy, "coupon");
    cr_expect_str_eq(arena_strdup(&arena, ""), "");
    arena_deinit(&arena);
}

Test(arena, an_unused_one_can_be_reset_and_freed) {
    struct arena arena;
    arena_init(&arena, 64);
    arena_reset(&arena);
    arena_deinit(&arena);
    arena_deinit(&arena);
    arena_deinit(NULL);
}
