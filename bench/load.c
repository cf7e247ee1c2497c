/* SPDX-License-Identifier: Apache-2.0 */
/* bench_load HOST:PORT: makes unary gRPC calls from one thread, as cheaply as possible, because the measured server
 * runs on the same cores. It is still an honest client: it reads and decodes each answer and compares it with the
 * request.
 *
 * Closed loop (default): a fixed number of calls is in flight; when calls end, as many new ones begin, and go out in
 * one write. Open loop (--rate): request i is due at begin + i / rate, and its latency counts from then, no matter how
 * long it waits for a free place.
 *
 * It works in rounds: begin the calls that are due, write, read. Waking for each answer would cost more than everything
 * else, both here and in the server, which does the waking. A round therefore takes at least --gather-us, and
 * bench_load sleeps for the rest of it. Latencies include this time.
 *
 * See load_args.h for options, load_calls.h for calls, load_h2.h for connections, and load_hpack.h for headers. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "load_args.h"

#define HANDSHAKE_TIMEOUT_US (10 * US_PER_S)
#define LOG_BUFFER_BYTES     (1 << 20)
#define NS_PER_US            1000
#define TIMER_SLACK_NS       1000 /* the kernel's default of 50 us would add to the latencies */

struct connection {
    struct h2 h2;
    struct calls *calls;
    int64_t in_flight;   /* maximum */
    bool waits_for_room; /* until the socket accepts more bytes */
};

struct load {
    struct load_args args;
    struct connection *connections;
    int epoll;
    size_t next_connection; /* open loop: the next connection to use */
    struct calls calls;

    bool has_begun;
    int64_t n_requests; /* maximum */
    int64_t n_sent;
    int64_t begin_us, begin_wall_us, stop_us, deadline_us; /* clock_mono_us(), except begin_wall_us */
    double begin_cpu_s;
    struct interval {
        struct histogram histogram;
        int64_t end_us, n_sent, n_accepted; /* its end, and the counts at its beginning */
    } interval;                             /* only with --every */
    char failure[2 * H2_FAILURE_SIZE];
};

__attribute__((format(printf, 2, 3))) static bool fail(struct load *load, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(load->failure, sizeof load->failure, format, args);
    va_end(args);
    return false;
}

static bool fail_connection(struct load *load, const struct connection *connection) {
    return fail(load, "connection %td to %s: %s", connection - load->connections + 1, load->args.address,
                connection->h2.failure);
}

/* --- connections --- */

static void on_message(void *arg, struct h2_call *call, const uint8_t *message, size_t n) {
    struct connection *connection = arg;
    calls_on_message(connection->calls, call, message, n);
}

static void on_answer(void *arg, struct h2_call *call, const struct h2_answer *answer) {
    struct connection *connection = arg;
    calls_on_answer(connection->calls, call, answer, connection->h2.read_us);
}

/* Writes what is queued. If the socket accepts only a part, epoll says when to write the rest. */
static bool flush(struct load *load, struct connection *connection) {
    if (!h2_flush(&connection->h2))
        return fail_connection(load, connection);
    bool waits = !h2_is_flushed(&connection->h2);
    if (waits == connection->waits_for_room)
        return true;
    connection->waits_for_room = waits;
    struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->h2.fd, &event) != 0)
        return fail(load, "epoll_ctl: %s", strerror(errno));
    return true;
}

static bool flush_all(struct load *load) {
    for (int64_t i = 0; i < load->args.n_connections; i++)
        if (!flush(load, &load->connections[i]))
            return false;
    return true;
}

/* Waits until a connection has an event or the time is over, and handles the events. */
static bool read_some(struct load *load, int64_t timeout_us) {
    struct epoll_event events[LOAD_CONNECTIONS_MAX];
    struct timespec timeout = {.tv_sec = timeout_us / US_PER_S, .tv_nsec = timeout_us % US_PER_S * NS_PER_US};
    int n = epoll_pwait2(load->epoll, events, (int)load->args.n_connections, &timeout, NULL);
    if (n < 0 && errno != EINTR)
        return fail(load, "epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (events[i].events != EPOLLOUT && !h2_read(&connection->h2))
            return fail_connection(load, connection);
    }
    return true;
}

static bool connect_one(struct load *load, struct connection *connection) {
    struct h2_settings settings = {
        .path = load->args.is_echo ? CALLS_PATH_ECHO : CALLS_PATH_PUBLISH,
        .authority = load->args.address,
        .timeout_ms = load->args.timeout_ms,
        .owner = {on_message, on_answer, connection},
    };
    if (!h2_connect(&connection->h2, load->args.address, &settings))
        return fail_connection(load, connection);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->h2.fd, &event) != 0)
        return fail(load, "epoll_ctl: %s", strerror(errno));
    return true;
}

/* Connects, and waits for the SETTINGS of every connection, because they limit its number of calls. */
static bool connect_all(struct load *load) {
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->connections = memory_new((size_t)load->args.n_connections, sizeof *load->connections);
    if (load->epoll < 0)
        abort(); /* out of file descriptors or kernel memory: no measurement is possible */
    for (int64_t i = 0; i < load->args.n_connections; i++) {
        struct connection *connection = &load->connections[i];
        connection->h2.fd = -1;
        connection->calls = &load->calls;
        connection->in_flight =
            load->args.in_flight / load->args.n_connections + (i < load->args.in_flight % load->args.n_connections);
    }
    for (int64_t i = 0; i < load->args.n_connections; i++)
        if (!connect_one(load, &load->connections[i]))
            return false;
    int64_t end_us = clock_mono_us() + HANDSHAKE_TIMEOUT_US, n_ready = 0;
    while (n_ready < load->args.n_connections) {
        int64_t left_us = end_us - clock_mono_us();
        if (left_us <= 0)
            return fail(load, "%s accepts the connection but sends nothing: is it gRPC without TLS?",
                        load->args.address);
        if (!flush_all(load) || !read_some(load, left_us))
            return false;
        n_ready = 0;
        for (int64_t i = 0; i < load->args.n_connections; i++)
            n_ready += load->connections[i].h2.is_ready;
    }
    return true;
}

static void disconnect(struct load *load) {
    for (int64_t i = 0; load->connections && i < load->args.n_connections; i++)
        h2_free(&load->connections[i].h2);
    free(load->connections);
    if (load->epoll >= 0)
        close(load->epoll);
}

/* --- output --- */

static void print_latency(const char *name, const struct histogram *histogram) {
    printf("\"%s\":{\"p50\":%lld,\"p90\":%lld,\"p99\":%lld,\"p999\":%lld,\"max\":%lld}", name,
           (long long)histogram_quantile(histogram, 0.5), (long long)histogram_quantile(histogram, 0.9),
           (long long)histogram_quantile(histogram, 0.99), (long long)histogram_quantile(histogram, 0.999),
           (long long)histogram->max);
}

/* Prints the answers since the previous line of this kind, with the time in seconds since the beginning. */
static void print_interval(struct load *load, int64_t now_us) {
    struct interval *interval = &load->interval;
    printf("{\"at_s\":%.3f,\"sent\":%lld,\"answers\":%lld,\"accepted\":%lld,",
           (double)(now_us - load->begin_us) / US_PER_S, (long long)(load->n_sent - interval->n_sent),
           (long long)interval->histogram.count, (long long)(load->calls.n_accepted - interval->n_accepted));
    print_latency("latency_us", &interval->histogram);
    printf("}\n");
    fflush(stdout);
    *interval = (struct interval){.end_us = interval->end_us + (int64_t)(load->args.every_s * US_PER_S),
                                  .n_sent = load->n_sent,
                                  .n_accepted = load->calls.n_accepted};
}

static void print_result(const struct load *load, double cpu_s) {
    const struct calls *calls = &load->calls;
    int64_t us = calls->last_us - load->begin_us;
    printf("{\"requests\":%lld,\"answers\":%lld,\"accepted\":%lld,\"outcomes\":{", (long long)load->n_sent,
           (long long)calls->n_answers, (long long)calls->n_accepted);
    for (size_t i = 0; i < calls->n_outcomes; i++)
        printf("%s\"%s\":%lld", i ? "," : "", calls->outcomes[i].name, (long long)calls->outcomes[i].n);
    printf("},\"bad\":%lld,\"seconds\":%.6f,\"per_s\":%.1f,\"begin_us\":%lld,\"end_us\":%lld,\"cpu_s\":%.6f,",
           (long long)calls->n_bad, (double)us / US_PER_S,
           us > 0 ? (double)calls->n_answers * US_PER_S / (double)us : 0, (long long)load->begin_wall_us,
           (long long)load->begin_wall_us + (long long)us, cpu_s);
    print_latency("latency_us", &calls->all);
    printf(",");
    print_latency("accepted_latency_us", &calls->accepted);
    printf(",\"max_ticket\":%lld}\n", (long long)calls->max_ticket);
}

/* --- the run --- */

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
}

static int64_t due_us(const struct load *load, int64_t number) {
    return load->begin_us + (int64_t)((double)number * US_PER_S / load->args.rate);
}

static bool has_room(const struct connection *connection) {
    return connection->h2.n_open < connection->in_flight && h2_can_begin(&connection->h2);
}

static bool begin_call(struct load *load, struct connection *connection, int64_t begin_us) {
    struct h2_call *call;
    uint8_t *message = h2_begin(&connection->h2, &call);
    if (!message)
        return fail_connection(load, connection);
    call->number = load->n_sent++;
    call->begin_us = begin_us;
    h2_commit(&connection->h2, call, calls_write(&load->calls, call->number, message));
    return true;
}

static bool is_all_sent(const struct load *load, int64_t now_us) {
    return load->n_sent >= load->n_requests || now_us >= load->stop_us;
}

/* Returns the next connection that has room, or NULL. */
static struct connection *take_connection(struct load *load) {
    for (int64_t i = 0; i < load->args.n_connections; i++) {
        struct connection *connection = &load->connections[load->next_connection];
        load->next_connection = (load->next_connection + 1) % (size_t)load->args.n_connections;
        if (has_room(connection))
            return connection;
    }
    return NULL;
}

static bool begin_due(struct load *load, int64_t now_us) {
    while (load->n_sent < load->n_requests && due_us(load, load->n_sent) <= now_us) {
        struct connection *connection = take_connection(load);
        if (!connection)
            break;
        if (!begin_call(load, connection, due_us(load, load->n_sent)))
            return false;
    }
    return true;
}

static bool refill(struct load *load, int64_t now_us) {
    for (int64_t i = 0; i < load->args.n_connections; i++) {
        struct connection *connection = &load->connections[i];
        while (!is_all_sent(load, now_us) && has_room(connection))
            if (!begin_call(load, connection, now_us))
                return false;
    }
    return true;
}

static bool any_has_room(const struct load *load) {
    for (int64_t i = 0; i < load->args.n_connections; i++)
        if (has_room(&load->connections[i]))
            return true;
    return false;
}

/* Returns the time of the next action that does not depend on an answer. */
static int64_t next_us(const struct load *load, int64_t now_us) {
    int64_t next = load->deadline_us, other = load->stop_us;
    if (load->interval.end_us < next)
        next = load->interval.end_us;
    if (is_all_sent(load, now_us))
        return next;
    if (any_has_room(load))
        other = load->args.rate > 0 ? due_us(load, load->n_sent) : now_us;
    return other < next ? other : next;
}

/* Sleeps for the rest of a round that began at `begin_us`. */
static void gather(const struct load *load, int64_t begin_us) {
    if (load->args.gather_us == 0)
        return;
    int64_t left_us = begin_us + load->args.gather_us - clock_mono_us();
    if (left_us > 0)
        clock_sleep_us(left_us);
}

static bool fail_deadline(struct load *load, int64_t now_us) {
    bool is_known = load->n_requests < LOAD_REQUESTS_MAX && !is_all_sent(load, now_us);
    int64_t n = is_known ? load->n_requests : load->n_sent;
    return fail(load, "not done after %g s: of %lld answers, %lld are missing; %lld requests were sent",
                load->args.deadline_s, (long long)n, (long long)(n - load->calls.n_answers), (long long)load->n_sent);
}

static bool run(struct load *load) {
    if (load->args.rate > 0 && load->args.seconds > 0) { /* the timetable ends then, but sending may go on */
        int64_t n = (int64_t)ceil(load->args.rate * load->args.seconds);
        load->n_requests = n < load->n_requests ? n : load->n_requests;
    }
    load->has_begun = true;
    load->begin_cpu_s = cpu_seconds();
    load->begin_wall_us = clock_wall_us();
    load->begin_us = load->calls.last_us = clock_mono_us();
    load->deadline_us = load->begin_us + (int64_t)(load->args.deadline_s * US_PER_S);
    load->interval.end_us = load->calls.lately ? load->begin_us + (int64_t)(load->args.every_s * US_PER_S) : INT64_MAX;
    load->stop_us = INT64_MAX;
    if (load->args.rate <= 0 && load->args.seconds > 0)
        load->stop_us = load->begin_us + (int64_t)(load->args.seconds * US_PER_S);
    for (;;) {
        int64_t now_us = clock_mono_us();
        if (!(load->args.rate > 0 ? begin_due(load, now_us) : refill(load, now_us)) || !flush_all(load))
            return false;
        if (is_all_sent(load, now_us) && load->calls.n_answers == load->n_sent)
            return true;
        if (now_us >= load->deadline_us)
            return fail_deadline(load, now_us);
        if (now_us >= load->interval.end_us)
            print_interval(load, now_us);
        gather(load, now_us);
        now_us = clock_mono_us();
        int64_t wait_us = next_us(load, now_us) - now_us;
        if (!read_some(load, wait_us > 0 ? wait_us : 0))
            return false;
    }
}

/* --- the program --- */

static void name_run(char run[static CALLS_RUN_MAX + 1]) {
    uint32_t number;
    if (run[0])
        return;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        abort(); /* it cannot fail for 4 bytes once the kernel's random pool is ready */
    snprintf(run, CALLS_RUN_MAX + 1, "%08x", number);
}

static FILE *open_log(const char *path) {
    FILE *log = path ? fopen(path, "we") : NULL;
    if (path && !log)
        load_args_refuse("--log: cannot write %s: %s", path, strerror(errno));
    if (log)
        setvbuf(log, NULL, _IOFBF, LOG_BUFFER_BYTES);
    return log;
}

static bool close_log(FILE *log) {
    bool is_well = !log || !ferror(log);
    return (!log || fclose(log) == 0) && is_well;
}

static void load_init(struct load *load, int argc, char **argv) {
    struct load_args *args = &load->args;
    load_args_read(args, argc, argv);
    name_run(args->run);
    load->epoll = -1;
    load->n_requests = args->n_requests;
    load->calls = (struct calls){.is_echo = args->is_echo,
                                 .first_coupon = args->first_coupon,
                                 .n_coupons = args->n_coupons,
                                 .first_user = args->first_user,
                                 .run = args->run,
                                 .lately = args->every_s > 0 ? &load->interval.histogram : NULL,
                                 .log = open_log(args->log_path)};
    calls_init(&load->calls);
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
}

int main(int argc, char **argv) {
    static struct load load;
    load_init(&load, argc, argv);
    bool is_well = connect_all(&load) && run(&load);
    if (load.has_begun)
        print_result(&load, cpu_seconds() - load.begin_cpu_s);
    if (is_well && load.calls.n_bad > 0)
        is_well = fail(&load, "%s", load.calls.contradiction);
    if (!close_log(load.calls.log) && is_well)
        is_well = fail(&load, "--log: not everything could be written to %s", load.args.log_path);
    if (!is_well)
        fprintf(stderr, "bench_load: %s\n", load.failure);
    disconnect(&load);
    calls_deinit(&load.calls);
    return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
