/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: options and operands of a verb, from tables that the help is printed from too.
 *
 *   option    --name VALUE, --name=VALUE, or a flag --name; global ones before or after the verb
 *   operand   what is no option, e.g. a coupon id; negative numbers are operands, "--" makes the rest operands
 *
 * All functions that can refuse print what is wrong and how to mend it, and return false. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl;
struct given;

struct option_spec {
    const char *name;
    const char *value; /* what it takes, e.g. "MS"; NULL for a flag */
    const char *text;
};

struct verb {
    const char *name;
    const char *operands; /* e.g. "COUPON USER" */
    size_t n_operands, n_operands_optional;
    const struct option_spec *options; /* ends with a zeroed one; may be NULL */
    int (*run)(struct ctl *ctl);       /* returns the exit code */
    const char *text;
};

#define OPERANDS_MAX 2

struct args {
    const struct verb *verb;
    const char *operands[OPERANDS_MAX];
    size_t n_operands;
    struct given *given;
    size_t n_given;
    bool json; /* how to complain */
};

extern const struct option_spec global_options[];

bool args_parse(struct args *args, int argc, char **argv, const struct verb *verbs, size_t n_verbs);
void args_deinit(struct args *args);

/* The last value given; NULL where there is none. A flag's is "". */
const char *args_text(const struct args *args, const char *name);
/* The n-th value given for an option that may be repeated; NULL behind the last. */
const char *args_text_at(const struct args *args, const char *name, size_t n);
bool args_flag(const struct args *args, const char *name);
/* These leave *ret as it is where the option was not given. */
bool args_int(const struct args *args, const char *name, int64_t min, int64_t max, int64_t *ret);
bool args_double(const struct args *args, const char *name, double *ret);
bool args_time(const struct args *args, const char *name, int64_t *ret_wall_us);
bool args_operand_int(const struct args *args, size_t n, const char *what, int64_t *ret);

/* "couponctl: …" on stderr, or an error object on stdout with --json. Returns the exit code of wrong usage. */
int args_refuse(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

void help_print(const struct verb *verbs, size_t n_verbs);
void help_print_verb(const struct verb *verb);
