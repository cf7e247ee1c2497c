/* SPDX-License-Identifier: Apache-2.0 */
/* bench_stampede HOST:PORT: a crowd that wants the coupons of one campaign, on thousands of connections. See
 * stampede_people.h for the people and load_h2.h for a connection.
 *
 * Everything is due at a time: connections open evenly over the first seconds, people press by their timetable, second
 * presses, repeats and retries come later. A press that is due waits if its connection is not ready; its latency counts
 * from the timetable all the same (open loop). A lost connection is counted, opened again a second later, and its calls
 * are made again.
 *
 * Like bench_load it works in rounds of at least --gather-us: begin what is due, write, read. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "stampede_people.h"

#define EVENTS_MAX     1024
#define NS_PER_US      1000
#define TIMER_SLACK_NS 1000
#define REOPEN_US      US_PER_S       /* after a connection was lost */
#define SECOND_US      (US_PER_S / 5) /* a second press comes 1 to 5 times this after the first one */
#define REPEAT_US      (US_PER_S / 5) /* a repeat comes 1 to 5 times this after the answer */
#define EXIT_USAGE     2
/* 127.0.0.2, 127.0.0.3, …: as many as a loopback network of one byte has */
#define ADDRESSES_MAX 253

/* What is due at a time: a press (its index), or a connection (-1 - its index). */
struct due {
    int64_t at_us;
    int64_t what;
};

struct connection {
    struct h2 h2;
    struct stampede *stampede;
    bool is_open, is_ready, is_changed, waits_for_room;
    int32_t first, last; /* presses that wait until it is ready; -1: none */
    char source[16];
};

struct stampede {
    const char *address;
    int64_t n_connections, n_addresses, gather_us, every_us, deadline_us, connect_us, noon_us;
    double peak_us;
    const char *log;

    struct people people;
    struct connection *connections;
    struct connection **changed; /* those that have something to write */
    int64_t n_changed;
    int epoll;
    struct due *heap;
    int64_t n_heap, heap_room;

    int64_t begin_us, begin_wall_us, n_ready, n_lost, n_calls, n_retries;
    char lost[H2_FAILURE_SIZE]; /* why the first one was lost */
    struct histogram late;      /* from a first press' time to its call, if its connection was ready then */
    struct window {
        struct histogram answers;
        int64_t end_us, n_presses, n_yes, n_no, n_repeats, n_retries;
    } window; /* since the last line */
    struct worst {
        struct histogram answers;
        int64_t end_us, at_us, p99_us, max_us, n;
    } second; /* the worst one so far, and the present one's answers */
};

static int64_t now_of(const struct stampede *stampede) {
    return clock_mono_us() - stampede->begin_us;
}

/* --- what is due: a heap --- */

static void push(struct stampede *stampede, int64_t at_us, int64_t what) {
    if (stampede->n_heap == stampede->heap_room) {
        stampede->heap_room = stampede->heap_room ? 2 * stampede->heap_room : 4096;
        stampede->heap = memory_resize(stampede->heap, (size_t)stampede->heap_room, sizeof *stampede->heap);
    }
    struct due *heap = stampede->heap;
    int64_t i = stampede->n_heap++;
    for (; i > 0 && heap[(i - 1) / 2].at_us > at_us; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = (struct due){at_us, what};
}

static int64_t pop(struct stampede *stampede) {
    struct due *heap = stampede->heap, last = heap[--stampede->n_heap];
    int64_t what = heap[0].what, i = 0, n = stampede->n_heap;
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && heap[child + 1].at_us < heap[child].at_us;
        if (heap[child].at_us >= last.at_us)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return what;
}

/* --- calls --- */

static void change(struct connection *connection) {
    struct stampede *stampede = connection->stampede;
    if (connection->is_changed)
        return;
    connection->is_changed = true;
    stampede->changed[stampede->n_changed++] = connection;
}

/* A lost connection does not end the run: what it had in flight is called again, as its client would do. */
static void lose(struct connection *connection) {
    struct stampede *stampede = connection->stampede;
    int64_t now_us = now_of(stampede);
    if (stampede->n_lost++ == 0)
        snprintf(stampede->lost, sizeof stampede->lost, "%s", connection->h2.failure);
    stampede->n_ready -= connection->is_ready;
    for (uint32_t i = 0; connection->h2.calls && i < connection->h2.n_calls; i++)
        if (connection->h2.calls[i].id != 0) {
            push(stampede, now_us + REOPEN_US, connection->h2.calls[i].number);
            stampede->n_retries++;
        }
    h2_free(&connection->h2);
    connection->is_open = connection->is_ready = false;
    push(stampede, now_us + REOPEN_US, -1 - (connection - stampede->connections));
}

static void begin_call(struct connection *connection, int64_t index, int64_t now_us) {
    struct stampede *stampede = connection->stampede;
    struct press *press = &stampede->people.presses[index];
    struct h2_call *call;
    uint8_t *message = h2_begin(&connection->h2, &call);
    if (!message) { /* it has no stream numbers left */
        push(stampede, now_us + REOPEN_US, index);
        lose(connection);
        return;
    }
    call->number = index;
    if (now_us < press->since_us)
        press->since_us = now_us;
    h2_commit(&connection->h2, call, people_write(&stampede->people, press, message));
    stampede->n_calls++;
    change(connection);
}

static void wait_for(struct connection *connection, int64_t index) {
    struct press *presses = connection->stampede->people.presses;
    presses[index].next = -1;
    if (connection->first < 0)
        connection->first = (int32_t)index;
    else
        presses[connection->last].next = (int32_t)index;
    connection->last = (int32_t)index;
}

static void begin_waiting(struct connection *connection, int64_t now_us) {
    while (connection->first >= 0 && connection->is_open && h2_can_begin(&connection->h2)) {
        int32_t index = connection->first;
        connection->first = connection->stampede->people.presses[index].next;
        begin_call(connection, index, now_us);
    }
}

static void press(struct stampede *stampede, int64_t index, int64_t now_us) {
    struct press *press = &stampede->people.presses[index];
    struct connection *connection = &stampede->connections[press->connection];
    bool is_new = press->since_us == INT64_MAX && press->kind == PRESS_FIRST;
    if (connection->first >= 0 || !connection->is_open || !h2_can_begin(&connection->h2)) {
        wait_for(connection, index);
        return;
    }
    if (is_new)
        histogram_add(&stampede->late, now_us - press->due_us);
    begin_call(connection, index, now_us);
}

static void on_message(void *arg, struct h2_call *call, const uint8_t *message, size_t n) {
    struct stampede *stampede = ((struct connection *)arg)->stampede;
    people_on_message(&stampede->people, &stampede->people.presses[call->number], (struct pb){message, message + n});
}

static int64_t spread_us(struct stampede *stampede, int64_t step_us) {
    return step_us + (int64_t)(people_random(&stampede->people) % (uint64_t)(4 * step_us));
}

static void count_answer(struct stampede *stampede, const struct press *press) {
    int64_t took_us = press->end_us - press->due_us;
    if (press->kind == PRESS_REPEAT)
        stampede->window.n_repeats++;
    else if (press->answer == PRESS_OK)
        stampede->window.n_yes++;
    else
        stampede->window.n_no++;
    histogram_add(&stampede->window.answers, took_us);
    histogram_add(&stampede->second.answers, took_us);
}

static bool is_chosen(struct stampede *stampede, double share) {
    return (double)(people_random(&stampede->people) >> 11) < share * 0x1p53;
}

static void on_answer(void *arg, struct h2_call *call, const struct h2_answer *answer) {
    struct connection *connection = arg;
    struct stampede *stampede = connection->stampede;
    struct people *people = &stampede->people;
    struct press *press = &people->presses[call->number];
    int64_t now_us = connection->h2.read_us - stampede->begin_us, retry_ms;
    if (!people_on_answer(people, press, call, answer, &retry_ms)) {
        int64_t wait_us = retry_ms * US_PER_MS, jitter = wait_us / 2 + 1; /* up to half more */
        stampede->n_retries++;
        stampede->window.n_retries++;
        push(stampede, now_us + wait_us + (int64_t)(people_random(people) % (uint64_t)jitter), call->number);
        return;
    }
    people_end(people, press, now_us);
    count_answer(stampede, press);
    if (press->kind == PRESS_FIRST && is_chosen(stampede, people->repeat_share)) {
        int64_t due_us = now_us + spread_us(stampede, REPEAT_US);
        push(stampede, due_us, people_add(people, call->number, PRESS_REPEAT, due_us));
    }
}

/* --- connections --- */

static void flush(struct connection *connection) {
    if (!connection->is_open)
        return;
    if (!h2_flush(&connection->h2)) {
        lose(connection);
        return;
    }
    bool waits = !h2_is_flushed(&connection->h2);
    if (waits == connection->waits_for_room)
        return;
    connection->waits_for_room = waits;
    struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(connection->stampede->epoll, EPOLL_CTL_MOD, connection->h2.fd, &event) != 0)
        abort(); /* out of kernel memory */
}

static void flush_changed(struct stampede *stampede) {
    for (int64_t i = 0; i < stampede->n_changed; i++) {
        stampede->changed[i]->is_changed = false;
        flush(stampede->changed[i]);
    }
    stampede->n_changed = 0;
}

static void open_connection(struct stampede *stampede, struct connection *connection) {
    struct h2_settings settings = {
        .path = CALLS_PATH_PUBLISH,
        .authority = stampede->address,
        .source = connection->source[0] ? connection->source : NULL,
        .is_small = true,
        .owner = {on_message, on_answer, connection},
    };
    connection->is_open = true;
    connection->waits_for_room = true;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = connection};
    if (!h2_connect(&connection->h2, stampede->address, &settings)) {
        lose(connection);
    } else if (epoll_ctl(stampede->epoll, EPOLL_CTL_ADD, connection->h2.fd, &event) != 0) {
        abort(); /* out of kernel memory */
    }
}

static void read_some(struct stampede *stampede, int64_t timeout_us) {
    struct epoll_event events[EVENTS_MAX];
    struct timespec timeout = {.tv_sec = timeout_us / US_PER_S, .tv_nsec = timeout_us % US_PER_S * NS_PER_US};
    int n = epoll_pwait2(stampede->epoll, events, EVENTS_MAX, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (!connection->is_open)
            continue;
        if (events[i].events != EPOLLOUT && !h2_read(&connection->h2)) {
            lose(connection);
            continue;
        }
        if (connection->h2.is_ready && !connection->is_ready) {
            connection->is_ready = true;
            stampede->n_ready++;
        }
        begin_waiting(connection, now_of(stampede));
        if (!h2_is_flushed(&connection->h2))
            change(connection);
    }
}

/* --- output --- */

static void print_latency(const char *name, const struct histogram *histogram) {
    printf("\"%s\":{\"n\":%lld,\"p50\":%lld,\"p99\":%lld,\"p999\":%lld,\"max\":%lld}", name,
           (long long)histogram->count, (long long)histogram_quantile(histogram, 0.5),
           (long long)histogram_quantile(histogram, 0.99), (long long)histogram_quantile(histogram, 0.999),
           (long long)histogram->max);
}

static void end_second(struct stampede *stampede, int64_t now_us) {
    struct worst *second = &stampede->second;
    int64_t p99_us = histogram_quantile(&second->answers, 0.99);
    if (p99_us > second->p99_us) {
        second->p99_us = p99_us;
        second->at_us = now_us;
        second->max_us = second->answers.max;
        second->n = second->answers.count;
    }
    second->answers = (struct histogram){0};
    second->end_us = now_us + US_PER_S;
}

static void end_window(struct stampede *stampede, int64_t now_us) {
    struct window *window = &stampede->window;
    printf("{\"at_s\":%.3f,\"presses\":%lld,\"yes\":%lld,\"no\":%lld,\"repeats\":%lld,\"retries\":%lld,"
           "\"connections\":%lld,",
           (double)now_us / US_PER_S, (long long)window->n_presses, (long long)window->n_yes, (long long)window->n_no,
           (long long)window->n_repeats, (long long)window->n_retries, (long long)stampede->n_ready);
    print_latency("answers_us", &window->answers);
    printf("}\n");
    fflush(stdout);
    *window = (struct window){.end_us = window->end_us + stampede->every_us};
}

static void print_result(struct stampede *stampede, int64_t end_us) {
    const struct people *people = &stampede->people;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
    printf("{\"people\":%lld,\"presses\":%lld,\"ended\":%lld,\"calls\":%lld,\"retries\":%lld,\"ok\":%lld,"
           "\"sold_out\":%lld,\"already\":%lld,\"wrong\":%lld,\"repeats\":%lld,",
           (long long)people->n_people, (long long)people->n_presses, (long long)people->n_ended,
           (long long)stampede->n_calls, (long long)stampede->n_retries, (long long)people->n_answers[PRESS_OK],
           (long long)people->n_answers[PRESS_SOLD_OUT], (long long)people->n_answers[PRESS_ALREADY],
           (long long)people->n_answers[PRESS_WRONG], (long long)people->n_repeats);
    printf("\"winners\":%lld,\"max_ticket\":%lld,\"bad\":%lld,\"lost\":%lld,\"ready\":%lld,\"seconds\":%.3f,"
           "\"cpu_s\":%.3f,\"memory_kib\":%ld,\"first_no_us\":%lld,",
           (long long)people->n_winners, (long long)people->max_ticket, (long long)people->n_bad,
           (long long)stampede->n_lost, (long long)stampede->n_ready, (double)end_us / US_PER_S, cpu_s, usage.ru_maxrss,
           people->first_no_us == INT64_MAX ? 0LL : (long long)(stampede->begin_wall_us + people->first_no_us));
    print_latency("yes_us", &people->yes);
    printf(",");
    print_latency("no_us", &people->no);
    printf(",");
    print_latency("repeat_us", &people->repeats);
    printf(",");
    print_latency("late_us", &stampede->late);
    printf(",\"worst_second\":{\"at_s\":%.3f,\"n\":%lld,\"p99\":%lld,\"max\":%lld}}\n",
           (double)stampede->second.at_us / US_PER_S, (long long)stampede->second.n, (long long)stampede->second.p99_us,
           (long long)stampede->second.max_us);
}

/* --- the run --- */

/* People use connections that open before they press. A second press comes on the same connection or on another. */
static void plan(struct stampede *stampede) {
    struct people *people = &stampede->people;
    int64_t n = stampede->n_connections;
    for (int64_t i = 0; i < n; i++) {
        struct connection *connection = &stampede->connections[i];
        connection->stampede = stampede;
        connection->h2.fd = -1;
        connection->first = -1;
        if (stampede->n_addresses > 0)
            snprintf(connection->source, sizeof connection->source, "127.0.0.%u",
                     (unsigned)(uint8_t)(2 + i % stampede->n_addresses));
        push(stampede, i * stampede->connect_us / n, -1 - i);
    }
    for (int64_t i = 0; i < people->n_people; i++) {
        int64_t due_us = people->presses[i].due_us;
        int64_t n_open = stampede->connect_us > 0 && due_us < stampede->connect_us
                             ? (int64_t)((double)due_us / (double)stampede->connect_us * (double)n) + 1
                             : n;
        n_open = n_open < n ? n_open : n;
        people->presses[i].connection = (int32_t)(people_random(people) % (uint64_t)n_open);
        push(stampede, due_us, i);
        if (is_chosen(stampede, people->second_share)) {
            int64_t later_us = due_us + spread_us(stampede, SECOND_US), second;
            second = people_add(people, i, PRESS_SECOND, later_us);
            if (people_random(people) & 1)
                people->presses[second].connection = (int32_t)(people_random(people) % (uint64_t)n_open);
            push(stampede, later_us, second);
        }
    }
}

static void begin_due(struct stampede *stampede, int64_t now_us) {
    while (stampede->n_heap > 0 && stampede->heap[0].at_us <= now_us) {
        int64_t what = pop(stampede);
        if (what < 0) {
            open_connection(stampede, &stampede->connections[-1 - what]);
            continue;
        }
        stampede->window.n_presses +=
            stampede->people.presses[what].kind != PRESS_REPEAT && stampede->people.presses[what].since_us == INT64_MAX;
        press(stampede, what, now_us);
    }
}

/* Returns whether everybody was answered in time. */
static bool run(struct stampede *stampede) {
    stampede->begin_wall_us = clock_wall_us();
    stampede->begin_us = clock_mono_us();
    stampede->window.end_us = stampede->every_us;
    stampede->second.end_us = US_PER_S;
    for (;;) {
        int64_t now_us = now_of(stampede);
        begin_due(stampede, now_us);
        flush_changed(stampede);
        if (now_us >= stampede->second.end_us)
            end_second(stampede, now_us);
        if (now_us >= stampede->window.end_us)
            end_window(stampede, now_us);
        if (stampede->people.n_ended == stampede->people.n_presses || now_us >= stampede->deadline_us)
            break;
        int64_t left_us = now_us + stampede->gather_us - now_of(stampede);
        if (left_us > 0)
            clock_sleep_us(left_us);
        int64_t wait_us = stampede->window.end_us;
        if (stampede->n_heap > 0 && stampede->heap[0].at_us < wait_us)
            wait_us = stampede->heap[0].at_us;
        wait_us -= now_of(stampede);
        read_some(stampede, wait_us > 0 ? wait_us : 0);
    }
    int64_t now_us = now_of(stampede);
    end_second(stampede, now_us);
    end_window(stampede, now_us);
    return stampede->people.n_ended == stampede->people.n_presses;
}

/* --- the program --- */

static void raise_files(int64_t n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)n + 16) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const struct option OPTIONS[] = {
    {"coupon", required_argument, NULL, 'c'},
    {"people", required_argument, NULL, 'p'},
    {"connections", required_argument, NULL, 'k'},
    {"addresses", required_argument, NULL, 'a'},
    {"connect-s", required_argument, NULL, 'o'},
    {"noon-s", required_argument, NULL, 'n'},
    {"peak-s", required_argument, NULL, 'm'},
    {"second", required_argument, NULL, '2'},
    {"repeat", required_argument, NULL, 'r'},
    {"gather-us", required_argument, NULL, 'g'},
    {"every", required_argument, NULL, 'v'},
    {"deadline", required_argument, NULL, 'd'},
    {"log", required_argument, NULL, 'l'},
    {"run", required_argument, NULL, 'i'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char HELP[] =
    "bench_stampede [OPTION]... HOST:PORT: a crowd presses for the coupons of one campaign. Prints a line of JSON for\n"
    "every --every seconds, and one with the result. Exit code 0: success; 1: an answer was wrong or missing, or a\n"
    "connection was lost (stderr says which); 2: wrong arguments.\n"
    "  --coupon ID        required\n"
    "  --people N         (300000)\n"
    "  --connections N    (20000)\n"
    "  --addresses N      connect from 127.0.0.2 and the next ones, up to 253; 0: from any (64)\n"
    "  --connect-s S      the connections open evenly within this time (10)\n"
    "  --noon-s S         the first people press then (8)\n"
    "  --peak-s S         most people press this long after noon (1.5)\n"
    "  --second SHARE     of the people, who press again with another request id (0.03)\n"
    "  --repeat SHARE     of the people, who repeat the call after its answer (0.03)\n"
    "  --gather-us US     minimum time between two rounds of reads and writes (1000)\n"
    "  --every S          (0.5)\n"
    "  --deadline S       give up after this time (120)\n"
    "  --run NAME         first part of the request ids, up to 16 bytes (s)\n"
    "  --log FILE         a line per press: user, request id, kind, answer, ticket\n";

__attribute__((noreturn)) static void refuse(const char *why) {
    fprintf(stderr, "bench_stampede: %s; --help lists the options\n", why);
    exit(EXIT_USAGE);
}

static double number_of(const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        refuse("a number is out of its range");
    return value;
}

static void read_option(struct stampede *stampede, int option, const char *text) {
    struct people *people = &stampede->people;
    switch (option) {
    case 'c':
        people->coupon = (int64_t)number_of(text, 1, 0x1p53);
        return;
    case 'p':
        people->n_people = (int64_t)number_of(text, 1, 1e8);
        return;
    case 'k':
        stampede->n_connections = (int64_t)number_of(text, 1, 1e6);
        return;
    case 'a':
        stampede->n_addresses = (int64_t)number_of(text, 0, ADDRESSES_MAX);
        return;
    case 'o':
        stampede->connect_us = (int64_t)(number_of(text, 0, 1e4) * US_PER_S);
        return;
    case 'n':
        stampede->noon_us = (int64_t)(number_of(text, 0, 1e4) * US_PER_S);
        return;
    case 'm':
        stampede->peak_us = number_of(text, 0, 1e4) * US_PER_S;
        return;
    case '2':
        people->second_share = number_of(text, 0, 1);
        return;
    case 'r':
        people->repeat_share = number_of(text, 0, 1);
        return;
    case 'g':
        stampede->gather_us = (int64_t)number_of(text, 0, 1e6);
        return;
    case 'v':
        stampede->every_us = (int64_t)(number_of(text, 0.01, 1e4) * US_PER_S);
        return;
    case 'd':
        stampede->deadline_us = (int64_t)(number_of(text, 0.1, 1e5) * US_PER_S);
        return;
    case 'l':
        stampede->log = text;
        return;
    case 'i':
        if (strlen(text) > 16)
            refuse("--run is too long");
        people->run = text;
        return;
    case 'h':
        fputs(HELP, stdout);
        exit(EXIT_SUCCESS);
    default:
        refuse("unknown option, or one without its value");
    }
}

static void read_arguments(struct stampede *stampede, int argc, char **argv) {
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        read_option(stampede, option, optarg);
    if (argc - optind != 1 || strlen(argv[optind]) > HPACK_NAME_MAX)
        refuse("give one HOST:PORT");
    if (stampede->people.coupon == 0)
        refuse("give --coupon");
    stampede->address = argv[optind];
}

/* Returns what is wrong, or NULL. */
static const char *fault_of(const struct stampede *stampede, bool is_in_time, char room[static 512]) {
    const struct people *people = &stampede->people;
    if (people->n_bad > 0)
        snprintf(room, 512, "%lld answers contradict; the first: %s", (long long)people->n_bad, people->contradiction);
    else if (!is_in_time)
        snprintf(room, 512, "not done: %lld of %lld presses are answered", (long long)people->n_ended,
                 (long long)people->n_presses);
    else if (stampede->n_lost > 0)
        snprintf(room, 512, "%lld connections were lost; the first: %s", (long long)stampede->n_lost, stampede->lost);
    else
        return NULL;
    return room;
}

int main(int argc, char **argv) {
    static struct stampede stampede = {
        .n_connections = 20000,
        .n_addresses = 64,
        .gather_us = 1000,
        .every_us = US_PER_S / 2,
        .deadline_us = 120 * US_PER_S,
        .connect_us = 10 * US_PER_S,
        .noon_us = 8 * US_PER_S,
        .peak_us = 1.5 * US_PER_S,
        .people = {.n_people = 300000, .first_user = 1, .run = "s", .second_share = 0.03, .repeat_share = 0.03},
    };
    read_arguments(&stampede, argc, argv);
    raise_files(stampede.n_connections);
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    stampede.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (stampede.epoll < 0)
        abort(); /* out of file descriptors or kernel memory */
    stampede.connections = memory_new((size_t)stampede.n_connections, sizeof *stampede.connections);
    stampede.changed = memory_new((size_t)stampede.n_connections, sizeof(struct connection *));
    people_init(&stampede.people, stampede.noon_us, stampede.peak_us);
    plan(&stampede);

    bool is_in_time = run(&stampede);
    int64_t end_us = now_of(&stampede);
    people_check(&stampede.people);
    print_result(&stampede, end_us);
    char room[512];
    const char *fault = fault_of(&stampede, is_in_time, room);
    if (!fault && stampede.log && !people_write_log(&stampede.people, stampede.log))
        fault = "the log cannot be written";
    if (fault)
        fprintf(stderr, "bench_stampede: %s\n", fault);

    for (int64_t i = 0; i < stampede.n_connections; i++)
        h2_free(&stampede.connections[i].h2);
    free(stampede.connections);
    free(stampede.changed);
    free(stampede.heap);
    people_deinit(&stampede.people);
    close(stampede.epoll);
    return fault ? EXIT_FAILURE : EXIT_SUCCESS;
}
