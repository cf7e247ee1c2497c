/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options, and the code that reads each; see load_args.h. */
#include "load_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_MAX    10000000
#define IN_FLIGHT_CLOSED 256
#define IN_FLIGHT_OPEN   100000
#define TIMEOUT_MS_MAX   99999999 /* grpc-timeout has at most eight digits */
#define SECONDS_MAX      1e6
#define RATE_MAX         1e7
#define DEADLINE_S       120
#define NOT_GIVEN        (-1)

/* A round costs as much as about ten calls. In a closed loop with F calls in flight, the throughput is at most F per
 * round. With 2 us per call, that is 500,000 per second, more than a server on the same machine can do. At the maximum
 * of 1000 us, rounds are cheap anyway. */
#define GATHER_PER_CALL_US   2
#define GATHER_CLOSED_MAX_US 1000
#define GATHER_OPEN_US       500
#define GATHER_LEAST_US      50 /* a shorter sleep is not worth its cost */
#define GATHER_MAX_US        1000000

static const struct option_spec {
    struct option option;
    const char *value, *text;
} OPTIONS[] = {
    {{"coupons", required_argument, NULL, 'c'}, "FIRST:COUNT", "request these coupons in rotation"},
    {{"echo", no_argument, NULL, 'e'}, "", "call toy.v1.Toy/Echo instead"},
    {{"requests", required_argument, NULL, 'n'}, "N", "number of requests"},
    {{"seconds", required_argument, NULL, 's'}, "S", "duration; with --requests too, the first limit reached ends it"},
    {{"in-flight", required_argument, NULL, 'f'}, "F", "concurrent calls in total (256; with --rate at most, 100000)"},
    {{"connections", required_argument, NULL, 'k'}, "C", "connections that share the calls (2)"},
    {{"rate", required_argument, NULL, 'r'}, "R", "requests per second on a timetable; latency counts from it"},
    {{"gather-us", required_argument, NULL, 'g'},
     "US",
     "minimum time between two rounds of reads and writes (twice F, at most 1000; with --rate 500)"},
    {{"first-user", required_argument, NULL, 'u'}, "N", "id of the first user (1)"},
    {{"run", required_argument, NULL, 'i'}, "NAME", "first part of the request ids (8 random hexadecimal digits)"},
    {{"timeout-ms", required_argument, NULL, 't'}, "MS", "grpc-timeout of each call (none)"},
    {{"deadline", required_argument, NULL, 'd'}, "S", "give up after this time (120)"},
    {{"every", required_argument, NULL, 'v'}, "S", "also print a line of JSON for every S seconds"},
    {{"log", required_argument, NULL, 'l'}, "FILE", "a line per answer: coupon user request_id outcome ticket"},
    {{"help", no_argument, NULL, 'h'}, "", "print this text"},
};
#define N_OPTIONS (sizeof OPTIONS / sizeof *OPTIONS)

static void print_help(void) {
    printf(
        "bench_load [OPTION]... HOST:PORT: makes calls and prints one line of JSON on stdout. Exit code 0: success;\n"
        "1: a connection was lost, or an answer was wrong or missing (stderr says which); 2: wrong arguments.\n");
    for (size_t i = 0; i < N_OPTIONS; i++)
        printf("  --%-12s %-12s %s\n", OPTIONS[i].option.name, OPTIONS[i].value, OPTIONS[i].text);
}

void load_args_refuse(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "bench_load: ");
    vfprintf(stderr, format, values);
    fprintf(stderr, "; --help lists the options\n");
    va_end(values);
    exit(LOAD_EXIT_USAGE);
}

static int64_t read_int(const char *name, const char *text, int64_t least, int64_t most) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        load_args_refuse("--%s: give a number from %lld to %lld, not '%s'", name, (long long)least, (long long)most,
                         text);
    return value;
}

static double read_double(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        load_args_refuse("--%s: give a number from %g to %g, not '%s'", name, least, most, text);
    return value;
}

static void read_coupons(struct load_args *args, const char *text) {
    char *end;
    errno = 0;
    long long first = strtoll(text, &end, 10), count = 0;
    bool is_well = !errno && end != text && *end == ':';
    if (is_well) {
        const char *rest = end + 1;
        count = strtoll(rest, &end, 10);
        is_well = !errno && end != rest && !*end && count >= 1 && count <= CALLS_COUPONS_MAX;
    }
    if (!is_well || first < 1 || first > INT64_MAX - CALLS_COUPONS_MAX)
        load_args_refuse("--coupons: give FIRST:COUNT, an id and a number of 1 to %d, not '%s'", CALLS_COUPONS_MAX,
                         text);
    args->first_coupon = first;
    args->n_coupons = count;
}

static void read_run(struct load_args *args, const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            n = 0;
    if (n == 0 || n > CALLS_RUN_MAX)
        load_args_refuse("--run: give 1 to %d characters without blanks, not '%s'", CALLS_RUN_MAX, text);
    memcpy(args->run, text, n + 1);
}

static void read_option(struct load_args *args, int option, const char *name, const char *text) {
    switch (option) {
    case 'c':
        read_coupons(args, text);
        return;
    case 'e':
        args->is_echo = true;
        return;
    case 'n':
        args->n_requests = read_int(name, text, 1, LOAD_REQUESTS_MAX - 1);
        return;
    case 's':
        args->seconds = read_double(name, text, 0.001, SECONDS_MAX);
        return;
    case 'f':
        args->in_flight = read_int(name, text, 1, IN_FLIGHT_MAX);
        return;
    case 'k':
        args->n_connections = read_int(name, text, 1, LOAD_CONNECTIONS_MAX);
        return;
    case 'r':
        args->rate = read_double(name, text, 0.001, RATE_MAX);
        return;
    case 'g':
        args->gather_us = read_int(name, text, 0, GATHER_MAX_US);
        return;
    case 'u':
        args->first_user = read_int(name, text, 1, INT64_MAX - LOAD_REQUESTS_MAX);
        return;
    case 'i':
        read_run(args, text);
        return;
    case 't':
        args->timeout_ms = read_int(name, text, 1, TIMEOUT_MS_MAX);
        return;
    case 'd':
        args->deadline_s = read_double(name, text, 0.001, SECONDS_MAX);
        return;
    case 'v':
        args->every_s = read_double(name, text, 0.001, SECONDS_MAX);
        return;
    case 'l':
        args->log_path = text;
        return;
    case 'h':
        print_help();
        exit(EXIT_SUCCESS);
    default:
        load_args_refuse("'%s' is not an option, or lacks its value", name);
    }
}

static void set_defaults(struct load_args *args) {
    bool is_open = args->rate > 0;
    if (!args->in_flight)
        args->in_flight = is_open ? IN_FLIGHT_OPEN : IN_FLIGHT_CLOSED;
    if (args->gather_us != NOT_GIVEN)
        return;
    args->gather_us = is_open ? GATHER_OPEN_US : GATHER_PER_CALL_US * args->in_flight;
    if (args->gather_us > GATHER_CLOSED_MAX_US)
        args->gather_us = GATHER_CLOSED_MAX_US;
    if (args->gather_us < GATHER_LEAST_US)
        args->gather_us = 0;
}

void load_args_read(struct load_args *args, int argc, char **argv) {
    *args = (struct load_args){.n_connections = 2,
                               .n_requests = LOAD_REQUESTS_MAX,
                               .first_user = 1,
                               .gather_us = NOT_GIVEN,
                               .deadline_s = DEADLINE_S};
    struct option options[N_OPTIONS + 1] = {0};
    for (size_t i = 0; i < N_OPTIONS; i++)
        options[i] = OPTIONS[i].option;
    int option, which = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, &which)) != -1)
        read_option(args, option, option == '?' ? argv[optind - 1] : options[which].name, optarg);
    if (argc - optind != 1)
        load_args_refuse("give one HOST:PORT");
    args->address = argv[optind];
    if (strlen(args->address) > HPACK_NAME_MAX)
        load_args_refuse("the address may have at most %d bytes", HPACK_NAME_MAX);
    if (args->is_echo == (args->n_coupons > 0))
        load_args_refuse("give --coupons or --echo");
    if (args->is_echo && args->log_path)
        load_args_refuse("--log needs requests for coupons, which --echo does not make");
    if (args->n_requests == LOAD_REQUESTS_MAX && args->seconds <= 0)
        load_args_refuse("give --requests or --seconds");
    set_defaults(args);
    if (args->in_flight < args->n_connections)
        load_args_refuse("--in-flight: give at least one call per connection");
}
