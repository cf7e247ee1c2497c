/* SPDX-License-Identifier: Apache-2.0 */
/* What bench_load is told on its command line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "load_calls.h"

#define LOAD_CONNECTIONS_MAX 1024
#define LOAD_REQUESTS_MAX    (INT64_C(1) << 40)
#define LOAD_EXIT_USAGE      2

struct load_args {
    const char *address;
    const char *log_path; /* NULL: none */
    bool is_echo;
    int64_t first_coupon, n_coupons, first_user;
    char run[CALLS_RUN_MAX + 1]; /* empty: not named */
    int64_t n_connections, in_flight, timeout_ms, gather_us;
    int64_t n_requests; /* LOAD_REQUESTS_MAX: not limited */
    double rate;        /* 0: closed loop */
    double seconds;     /* 0: not limited */
    double deadline_s;
    double every_s; /* 0: nothing is told in between */
};

/* Ends the program where it is told nonsense, or asked for help. */
void load_args_read(struct load_args *args, int argc, char **argv);
__attribute__((format(printf, 1, 2), noreturn)) void load_args_refuse(const char *format, ...);
