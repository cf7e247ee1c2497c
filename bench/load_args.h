/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bench_load. */
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
    char run[CALLS_RUN_MAX + 1]; /* empty: not given */
    int64_t n_connections, in_flight, timeout_ms, gather_us;
    int64_t n_requests; /* LOAD_REQUESTS_MAX: no limit */
    double rate;        /* 0: closed loop */
    double seconds;     /* 0: no limit */
    double deadline_s;
    double every_s; /* 0: no lines in between */
};

/* Ends the program on wrong arguments and after --help. */
void load_args_read(struct load_args *args, int argc, char **argv);
__attribute__((format(printf, 1, 2), noreturn)) void load_args_refuse(const char *format, ...);
