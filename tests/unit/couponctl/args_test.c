/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "status.h"

/* args.c reports errors through status.c, which needs a client. This replacement keeps the message. */
static char complaint[400];
static bool complained_as_json;

void failure_print_text(bool json, const char *code, const char *text) {
    cr_expect_str_eq(code, "USAGE");
    snprintf(complaint, sizeof complaint, "%s", text);
    complained_as_json = json;
}

const struct option_spec global_options[] = {
    {"server", "HOST:PORT", "where couponsd listens"}, {"json", NULL, "for scripts"}, {0}};

static const struct option_spec request_options[] = {
    {"count", "N", "how many"}, {"rate", "R", "how fast"}, {"open", "TIME", "when"}, {"quick", NULL, "at once"}, {0}};

static const struct verb verbs[] = {
    {.name = "list", .operands = ""},
    {.name = "request",
     .operands = "COUPON [USER]",
     .n_operands = 1,
     .n_operands_optional = 1,
     .options = request_options},
};

static struct args args;

/* words: separated by single spaces. */
static bool parse(const char *words) {
    static char room[200];
    static char *argv[20];
    int argc = 0;
    snprintf(room, sizeof room, "couponctl %s", words);
    for (char *word = strtok(room, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    args_deinit(&args);
    *complaint = '\0';
    return args_parse(&args, argc, argv, verbs, sizeof verbs / sizeof *verbs);
}

static void expect_refused(const char *words, const char *text) {
    cr_expect_not(parse(words), "%s", words);
    cr_expect_str_eq(complaint, text);
}

static void end(void) {
    args_deinit(&args);
}

TestSuite(args, .fini = end);

Test(args, options_stand_before_and_after_the_verb_and_take_their_value_either_way) {
    cr_assert(parse("--server a:1 request 7 --count=3 8 --quick"));
    cr_expect_str_eq(args.verb->name, "request");
    cr_expect_str_eq(args_text(&args, "server"), "a:1");
    cr_expect_str_eq(args_text(&args, "count"), "3");
    cr_expect(args_flag(&args, "quick"));
    cr_expect_not(args_flag(&args, "json"));
    cr_expect_null(args_text(&args, "rate"));
    cr_expect_eq(args.n_operands, 2);
    cr_expect_str_eq(args.operands[0], "7");
    cr_expect_str_eq(args.operands[1], "8");
}

Test(args, the_last_of_a_repeated_option_counts_and_all_can_be_had) {
    cr_assert(parse("list --server a:1 --server b:2"));
    cr_expect_str_eq(args_text(&args, "server"), "b:2");
    cr_expect_str_eq(args_text_at(&args, "server", 0), "a:1");
    cr_expect_str_eq(args_text_at(&args, "server", 1), "b:2");
    cr_expect_null(args_text_at(&args, "server", 2));
}

Test(args, negative_numbers_and_what_follows_two_dashes_are_operands) {
    cr_assert(parse("request -7 -- --count"));
    cr_expect_str_eq(args.operands[0], "-7");
    cr_expect_str_eq(args.operands[1], "--count");
    int64_t value = 0;
    cr_expect(args_operand_int(&args, 0, "COUPON", &value));
    cr_expect_eq(value, -7);
    cr_expect_not(args_operand_int(&args, 1, "USER", &value));
    cr_expect_str_eq(complaint, "USER: \"--count\" is not a whole number of 64 bits");
    cr_expect_eq(value, -7);
}

Test(args, wrong_usage_is_refused_with_what_is_wrong) {
    expect_refused("fetch", "no verb \"fetch\": see couponctl help");
    expect_refused("--count 3 request 7", "no option --count before the verb: see couponctl help");
    expect_refused("request 7 --color", "request has no option --color: see couponctl help request");
    expect_refused("request 7 -q", "request has no option -q: see couponctl help request");
    expect_refused("request 7 --quick=1", "--quick takes no value");
    expect_refused("request 7 --count", "--count needs a value: --count N");
    expect_refused("request 7 8 9", "\"9\" is one too many: couponctl request COUPON [USER]");
    cr_expect_not(complained_as_json);
    expect_refused("fetch --json", "no verb \"fetch\": see couponctl help");
    cr_expect(complained_as_json, "--json must count even after the wrong word");
}

Test(args, whole_numbers_are_checked_and_bounded) {
    int64_t value = 5;
    cr_assert(parse("request 7"));
    cr_expect(args_int(&args, "count", 1, 10, &value));
    cr_expect_eq(value, 5, "an option that is not given must not change the value");
    cr_assert(parse("request 7 --count 10"));
    cr_expect(args_int(&args, "count", 1, 10, &value));
    cr_expect_eq(value, 10);
    static const char *const wrong[] = {"1x", "0x1", "1.5", "9223372036854775808"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char words[60];
        snprintf(words, sizeof words, "request 7 --count %s", wrong[i]);
        cr_assert(parse(words));
        cr_expect_not(args_int(&args, "count", 1, 10, &value), "%s", wrong[i]);
    }
    cr_assert(parse("request 7 --count 11"));
    cr_expect_not(args_int(&args, "count", 1, 10, &value));
    cr_expect_str_eq(complaint, "--count: 11 is not between 1 and 10");
    cr_expect_eq(value, 10, "refused: left alone");
}

Test(args, fractions_and_times_are_checked) {
    double rate = 1;
    int64_t open_us = 0;
    cr_assert(parse("request 7 --rate 2.5 --open 1970-01-01T00:00:01Z"));
    cr_expect(args_double(&args, "rate", &rate));
    cr_expect_float_eq(rate, 2.5, 1e-9);
    cr_expect(args_time(&args, "open", &open_us));
    cr_expect_eq(open_us, 1000000);
    cr_assert(parse("request 7 --rate inf --open noon"));
    cr_expect_not(args_double(&args, "rate", &rate));
    cr_expect_str_eq(complaint, "--rate: \"inf\" is not a number");
    cr_expect_not(args_time(&args, "open", &open_us));
    cr_expect_str_eq(complaint, "--open: \"noon\" is not a time of RFC 3339, such as 2026-01-31T12:00:00Z");
    cr_expect_eq(open_us, 1000000);
}
