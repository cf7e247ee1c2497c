/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/context.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOOD   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define ROUNDS 200000

/* Reads a copy of exactly that size, so that a sanitizer finds reads beyond its end. */
static bool reads(const char *text, size_t len, struct trace_context *ret) {
    char *exact = malloc(len + !len);
    memcpy(exact, text, len);
    bool ok = trace_context_read(exact, len, ret);
    free(exact);
    return ok;
}

Test(trace_context, is_read_and_written) {
    struct trace_context context;
    char text[TRACEPARENT_SIZE];
    cr_assert(reads(GOOD, strlen(GOOD), &context));
    cr_expect(context.is_sampled);
    cr_expect_eq(context.trace_id[0], 0x0a);
    cr_expect_eq(context.trace_id[15], 0x9c);
    cr_expect_eq(context.span_id[0], 0xb7);
    cr_expect_str_eq(trace_context_write(&context, text), GOOD);
    context.is_sampled = false;
    cr_expect_str_eq(trace_context_write(&context, text) + 53, "00");
}

Test(trace_context, has_flags_of_which_only_the_last_one_says_that_it_is_sampled) {
    static const struct {
        const char *flags;
        bool is_sampled;
    } cases[] = {{"00", false}, {"01", true}, {"02", false}, {"03", true}, {"fe", false}, {"ff", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trace_context context;
        char text[] = GOOD;
        memcpy(text + 53, cases[i].flags, 2);
        cr_assert(reads(text, strlen(text), &context), "%s", text);
        cr_expect_eq(context.is_sampled, cases[i].is_sampled, "%s", text);
    }
}

Test(trace_context, of_a_later_version_may_have_more) {
    static const char *const fine[] = {"cc"
                                       "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                       "cc"
                                       "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
                                       "01"
                                       "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more-of-it"};
    struct trace_context context;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        cr_expect(reads(fine[i], strlen(fine[i]), &context), "%s", fine[i]);
}

Test(trace_context, that_is_not_valid_is_refused) {
    static const char *const bad[] = {
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "FF-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0G",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
    };
    struct trace_context context;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_not(reads(bad[i], strlen(bad[i]), &context), "%s", bad[i]);
    cr_expect_not(trace_context_read(NULL, 0, &context));
    cr_expect_not(reads("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\0-01", 55, &context));
}

Test(trace_context, with_any_bytes_is_refused_or_is_read_as_it_is_written) {
    srand(3);
    for (int i = 0; i < ROUNDS; i++) {
        struct trace_context context;
        char text[80] = GOOD "------------------------", again[TRACEPARENT_SIZE];
        for (int change = rand() % 3; change >= 0; change--)
            text[rand() % 60] = (char)(rand() % 4 ? "0123456789abcdef-ABCF"[rand() % 21] : rand() % 256);
        size_t len = (size_t)(rand() % 4 ? 55 : rand() % 80);
        if (!reads(text, len, &context))
            continue;
        trace_context_write(&context, again);
        cr_assert_geq(len, 55);
        cr_assert_eq(memcmp(again + 2, text + 2, 51), 0, "%.55s was read as %s", text, again);
    }
}

static void set_random(uint8_t id[TRACE_ID_BYTES], uint64_t random) {
    memset(id, 0xff, TRACE_ID_BYTES);
    for (int i = 0; i < 7; i++)
        id[TRACE_ID_BYTES - 1 - i] = (uint8_t)(random >> 8 * i);
}

Test(trace_context, is_chosen_by_the_last_56_bits_of_its_id) {
    uint8_t id[TRACE_ID_BYTES];
    const uint64_t all = UINT64_C(1) << 56, last = all - 1;
    set_random(id, last);
    cr_expect_not(trace_is_chosen(id, 0));
    cr_expect(trace_is_chosen(id, 1e-9));
    cr_expect(trace_is_chosen(id, 1));
    set_random(id, 0);
    cr_expect_not(trace_is_chosen(id, 0.999));
    cr_expect(trace_is_chosen(id, 1));
    set_random(id, all / 4 * 3);
    cr_expect(trace_is_chosen(id, 0.25));
    set_random(id, all / 4 * 3 - 1);
    cr_expect_not(trace_is_chosen(id, 0.25));
}

Test(trace_context, that_is_chosen_by_a_ratio_is_chosen_by_every_larger_one) {
    srand(5);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t id[TRACE_ID_BYTES];
        for (size_t at = 0; at < sizeof id; at++)
            id[at] = (uint8_t)rand();
        double less = rand() / (double)RAND_MAX, more = less + (1 - less) * rand() / (double)RAND_MAX;
        cr_assert(!trace_is_chosen(id, less) || trace_is_chosen(id, more));
    }
}
