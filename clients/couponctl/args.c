/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the command line and prints help; see args.h. */
#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ctl.h"
#include "status.h"

struct given {
    const struct option_spec *spec;
    const char *value;
};

int args_refuse(const struct args *args, const char *format, ...) {
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    failure_print_text(args->json, "USAGE", text);
    return EXIT_USAGE;
}

/* --- reading --- */

static const struct option_spec *find_in(const struct option_spec *options, const char *name, size_t len) {
    for (; options && options->name; options++)
        if (strlen(options->name) == len && strncmp(options->name, name, len) == 0)
            return options;
    return NULL;
}

static const struct option_spec *find_option(const struct args *args, const char *name, size_t len) {
    const struct option_spec *spec = find_in(global_options, name, len);
    return spec || !args->verb ? spec : find_in(args->verb->options, name, len);
}

static bool is_option(const char *arg) {
    return arg[0] == '-' && arg[1] != '\0' && !(arg[1] >= '0' && arg[1] <= '9');
}

/* Reads the option at argv[*at], and moves *at to the last word of the option. */
static bool take_option(struct args *args, int argc, char **argv, int *at) {
    const char *word = argv[*at];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const struct option_spec *spec = word[1] == '-' ? find_option(args, name, len) : NULL;
    if (!spec) {
        if (args->verb)
            args_refuse(args, "%s has no option %s: see couponctl help %s", args->verb->name, word, args->verb->name);
        else
            args_refuse(args, "no option %s before the verb: see couponctl help", word);
        return false;
    }
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (value && !spec->value) {
        args_refuse(args, "--%s takes no value", spec->name);
        return false;
    }
    if (spec->value && !value) {
        if (*at + 1 >= argc) {
            args_refuse(args, "--%s needs a value: --%s %s", spec->name, spec->name, spec->value);
            return false;
        }
        value = argv[++*at];
    }
    args->given[args->n_given++] = (struct given){spec, value ? value : ""};
    return true;
}

static bool take_operand(struct args *args, const char *word, const struct verb *verbs, size_t n_verbs) {
    if (!args->verb) {
        for (size_t i = 0; i < n_verbs; i++)
            if (strcmp(verbs[i].name, word) == 0)
                args->verb = &verbs[i];
        if (!args->verb)
            args_refuse(args, "no verb \"%s\": see couponctl help", word);
        return args->verb != NULL;
    }
    if (args->n_operands == args->verb->n_operands + args->verb->n_operands_optional) {
        args_refuse(args, "\"%s\" is one too many: couponctl %s %s", word, args->verb->name, args->verb->operands);
        return false;
    }
    args->operands[args->n_operands++] = word;
    return true;
}

bool args_parse(struct args *args, int argc, char **argv, const struct verb *verbs, size_t n_verbs) {
    *args = (struct args){.given = memory_new((size_t)argc + 1, sizeof *args->given)};
    /* --json comes first, so that errors in the other arguments are printed as JSON too. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        args->json |= strcmp(argv[i], "--json") == 0;
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && is_option(argv[i])) {
            if (!take_option(args, argc, argv, &i))
                return false;
        } else if (!take_operand(args, argv[i], verbs, n_verbs))
            return false;
    }
    return true;
}

void args_deinit(struct args *args) {
    free(args->given);
    *args = (struct args){0};
}

/* --- asking --- */

const char *args_text_at(const struct args *args, const char *name, size_t n) {
    for (size_t i = 0; i < args->n_given; i++)
        if (strcmp(args->given[i].spec->name, name) == 0 && n-- == 0)
            return args->given[i].value;
    return NULL;
}

const char *args_text(const struct args *args, const char *name) {
    for (size_t i = args->n_given; i > 0; i--)
        if (strcmp(args->given[i - 1].spec->name, name) == 0)
            return args->given[i - 1].value;
    return NULL;
}

bool args_flag(const struct args *args, const char *name) {
    return args_text(args, name) != NULL;
}

static bool parse_int(const char *text, int64_t *ret) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text == '\0' || strchr(" \t\n\v\f\r", *text) || *end != '\0' || errno != 0)
        return false;
    *ret = value;
    return true;
}

bool args_int(const struct args *args, const char *name, int64_t min, int64_t max, int64_t *ret) {
    const char *text = args_text(args, name);
    if (!text)
        return true;
    int64_t value;
    if (!parse_int(text, &value)) {
        args_refuse(args, "--%s: \"%s\" is not a whole number of 64 bits", name, text);
        return false;
    }
    if (value < min || value > max) {
        args_refuse(args, "--%s: %s is not between %lld and %lld", name, text, (long long)min, (long long)max);
        return false;
    }
    *ret = value;
    return true;
}

bool args_double(const struct args *args, const char *name, double *ret) {
    const char *text = args_text(args, name);
    if (!text)
        return true;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        args_refuse(args, "--%s: \"%s\" is not a number", name, text);
        return false;
    }
    *ret = value;
    return true;
}

bool args_time(const struct args *args, const char *name, int64_t *ret_wall_us) {
    const char *text = args_text(args, name);
    if (!text || clock_parse(text, ret_wall_us))
        return true;
    args_refuse(args, "--%s: \"%s\" is not a time of RFC 3339, such as 2026-01-31T12:00:00Z", name, text);
    return false;
}

bool args_operand_int(const struct args *args, size_t n, const char *what, int64_t *ret) {
    if (parse_int(args->operands[n], ret))
        return true;
    args_refuse(args, "%s: \"%s\" is not a whole number of 64 bits", what, args->operands[n]);
    return false;
}

/* --- help --- */

static void print_options(const struct option_spec *options) {
    for (; options && options->name; options++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", options->name, options->value ? " " : "",
                 options->value ? options->value : "");
        printf("  %-22s %s\n", left, options->text);
    }
}

void help_print_verb(const struct verb *verb) {
    printf("usage: couponctl %s%s%s%s\n\n%s\n", verb->name, *verb->operands ? " " : "", verb->operands,
           verb->options ? " [OPTION]..." : "", verb->text);
    if (verb->options) {
        puts("\nOptions:");
        print_options(verb->options);
    }
    puts("\nOptions of every verb:");
    print_options(global_options);
}

void help_print(const struct verb *verbs, size_t n_verbs) {
    puts("couponctl: the command line of couponsd\n\n"
         "usage: couponctl [--server HOST:PORT] [--json] [--timeout MS] VERB ...\n\nVerbs:");
    for (size_t i = 0; i < n_verbs; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", verbs[i].name, verbs[i].operands);
        printf("  %-29s %.*s\n", left, (int)strcspn(verbs[i].text, "\n"), verbs[i].text);
    }
    puts("\nOptions of every verb, before or after it:");
    print_options(global_options);
    puts("\ncouponctl help VERB lists the options of a verb.\n\n"
         "Exit codes:\n"
         "  0   success\n"
         "  1   couponsd refused the call; dead-letters replay: a letter was kept; verify: a check was skipped\n"
         "  2   wrong usage\n"
         "  3   no answer: the server is unreachable or unavailable, or the time limit is over\n"
         "  4   bench: accepted requests were not issued in time, answers contradict each other, or a signal came;\n"
         "      verify: a check does not hold");
}
