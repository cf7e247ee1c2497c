/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. The tables of options and verbs drive both the parser and the help.
 *
 *   option    --name VALUE, --name=VALUE, or a flag --name; global options may stand before the verb
 *   operand   any other word, e.g. a coupon id; negative numbers are operands, and so is everything after "--"
 *
 * A function that returns false has printed the error and how to correct it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl;
struct given;

struct option_spec {
    const char *name;
    const char *value; /* name of its value, e.g. "MS"; NULL for a flag */
    const char *text;
};

struct verb {
    const char *name;
    const char *operands; /* e.g. "COUPON USER" */
    size_t n_operands, n_operands_optional;
    const struct option_spec *options; /* ends with a zeroed entry; may be NULL */
    int (*run)(struct ctl *ctl);       /* returns the exit code */
    const char *text;
    const char *words; /* what the first operand may be, separated by spaces; NULL: any text */
};

#define OPERANDS_MAX 2

struct args {
    const struct verb *verb;
    const char *operands[OPERANDS_MAX];
    size_t n_operands;
    struct given *given;
    size_t n_given;
    bool json; /* print errors as JSON */
};

extern const struct option_spec global_options[];

bool args_parse(struct args *args, int argc, char **argv, const struct verb *verbs, size_t n_verbs);
void args_deinit(struct args *args);

/* Returns the last value of an option, or NULL if the option was not given. The value of a flag is "". */
const char *args_text(const struct args *args, const char *name);
/* Returns the n-th value (from 0) of an option that may be repeated, or NULL if there are fewer. */
const char *args_text_at(const struct args *args, const char *name, size_t n);
bool args_flag(const struct args *args, const char *name);
/* These leave *ret unchanged if the option was not given. */
bool args_int(const struct args *args, const char *name, int64_t min, int64_t max, int64_t *ret);
bool args_double(const struct args *args, const char *name, double *ret);
bool args_time(const struct args *args, const char *name, int64_t *ret_wall_us);
bool args_operand_int(const struct args *args, size_t n, const char *what, int64_t *ret);

/* Prints an error: text on stderr, or with --json an object on stdout. Returns EXIT_USAGE. */
int args_refuse(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

void help_print(const struct verb *verbs, size_t n_verbs);
void help_print_verb(const struct verb *verb);
