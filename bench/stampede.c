/* SPDX-License-Identifier: Apache-2.0 */
/* bench_stampede HOST:PORT COUPON PEOPLE CONNECTIONS SECONDS SOURCES LOG: a crowd that presses at noon, from one
 * thread.
 *
 * Connections open evenly over SECONDS, from SOURCES addresses 127.0.0.2, 127.0.0.3, …; noon is in the middle. Person p
 * uses connection p % CONNECTIONS, waits for noon and the connection, and presses after an exponentially distributed
 * time. Nobody waits for others: a press that finds no room is sent later, but its latency counts from its timetable.
 *
 * A request is a person and a kind. Of 100 persons, 3 press again with another request_id after their answer, and
 * another 3 repeat their request. A refusal with RetryInfo is repeated after that delay and up to half of it more.
 *
 * LOG gets a line per final answer:
 *     person kind due_us sent_us answer_us retries outcome ticket greatest
 * where `greatest` is the greatest ticket that anybody knew when the request was first sent. "R at_us" stands for each
 * retry, "C at_us" for each connection that opens. Times count from the beginning; stdout has its wall time. It ends
 * with 1 if a connection is lost. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "load_h2.h"
#include "load_pb.h"

#define N_ARGUMENTS    8
#define PATH           "/coupon.v1.CouponService/RequestPublish"
#define SPREAD         8 /* the mean time from noon to a press is SECONDS / SPREAD */
#define PATIENCE_US    (60 * US_PER_S)
#define ROUND_US       500
#define EVENTS_MAX     1024
#define TWICE_PERCENT  3
#define REPEAT_PERCENT 3
#define SOURCE_SIZE    16
#define SEED           0x9E3779B97F4A7C15u
#define STATE_REJECTED 3

enum kind { PRESS, TWICE, REPEAT, N_KINDS };

struct connection {
    struct h2 h2;
    char source[SOURCE_SIZE];
    bool is_open, waits_for_room;
    int64_t *waiting; /* requests that are due, but found no room; in order */
    size_t n_waiting, at_waiting, room;
};

struct request {
    int64_t due_us, sent_us, greatest;
    int32_t retries;
};

struct due {
    int64_t at_us, number; /* number: person * N_KINDS + kind; -1 - i: connection i opens */
};

static struct crowd {
    const char *address;
    int64_t coupon, people, n_connections, n_sources, window_us;
    FILE *log;
    struct connection *connections;
    struct request *requests;
    struct due *heap;
    size_t n_heap, room;
    int64_t begin_us, now_us, n_left, greatest;
    uint64_t random;
    int epoll;
} crowd;

static void die(const struct connection *connection, const char *what) {
    fprintf(stderr, "bench_stampede: at %.3f s: connection %td: %s\n",
            (double)(clock_mono_us() - crowd.begin_us) / US_PER_S, connection - crowd.connections, what);
    exit(EXIT_FAILURE);
}

/* --- time --- */

/* Uniform in (0, 1]; xorshift, the same in each run. */
static double uniform(void) {
    crowd.random ^= crowd.random << 13;
    crowd.random ^= crowd.random >> 7;
    crowd.random ^= crowd.random << 17;
    return ((double)(crowd.random >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

static void push(int64_t at_us, int64_t number) {
    if (crowd.n_heap == crowd.room) {
        crowd.room = crowd.room ? 2 * crowd.room : 1024;
        crowd.heap = memory_resize(crowd.heap, crowd.room, sizeof *crowd.heap);
    }
    size_t i = crowd.n_heap++;
    for (; i > 0 && crowd.heap[(i - 1) / 2].at_us > at_us; i = (i - 1) / 2)
        crowd.heap[i] = crowd.heap[(i - 1) / 2];
    crowd.heap[i] = (struct due){at_us, number};
}

static struct due pop(void) {
    struct due top = crowd.heap[0], last = crowd.heap[--crowd.n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < crowd.n_heap) {
        child += child + 1 < crowd.n_heap && crowd.heap[child + 1].at_us < crowd.heap[child].at_us;
        if (crowd.heap[child].at_us >= last.at_us)
            break;
        crowd.heap[i] = crowd.heap[child];
        i = child;
    }
    crowd.heap[i] = last;
    return top;
}

static void plan(void) {
    for (int64_t i = 0; i < crowd.n_connections; i++)
        push(crowd.window_us * i / crowd.n_connections, -1 - i);
    for (int64_t person = 0; person < crowd.people; person++) {
        int64_t opens_us = crowd.window_us * (person % crowd.n_connections) / crowd.n_connections;
        int64_t noon_us = crowd.window_us / 2, from_us = opens_us > noon_us ? opens_us : noon_us;
        int64_t at_us = from_us + (int64_t)(-log(uniform()) * (double)crowd.window_us / SPREAD);
        crowd.requests[person * N_KINDS].due_us = at_us;
        push(at_us, person * N_KINDS);
    }
    crowd.n_left = crowd.people;
}

/* --- requests --- */

static size_t write_request(int64_t number, uint8_t *out) {
    int64_t user = number / N_KINDS + 1;
    uint8_t id[2 + PB_DECIMAL_MAX], *end = id;
    *end++ = number % N_KINDS == TWICE ? 't' : 's';
    end = pb_put_decimal(end, user);
    uint8_t *at = out;
    *at++ = 1 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)crowd.coupon);
    *at++ = 2 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)user);
    *at++ = 3 << 3 | PB_BYTES;
    *at++ = (uint8_t)(end - id);
    memcpy(at, id, (size_t)(end - id));
    return (size_t)(at - out) + (size_t)(end - id);
}

static void begin(struct connection *connection, int64_t number) {
    struct request *request = &crowd.requests[number];
    struct h2_call *call;
    uint8_t *message = h2_begin(&connection->h2, &call);
    if (!message)
        die(connection, connection->h2.failure);
    call->number = number;
    if (request->retries == 0) {
        request->sent_us = clock_mono_us() - crowd.begin_us;
        request->greatest = crowd.greatest;
    } else {
        fprintf(crowd.log, "R %lld\n", (long long)crowd.now_us);
    }
    h2_commit(&connection->h2, call, write_request(number, message));
}

static void flush(struct connection *connection) {
    while (connection->at_waiting < connection->n_waiting && h2_can_begin(&connection->h2))
        begin(connection, connection->waiting[connection->at_waiting++]);
    if (connection->at_waiting == connection->n_waiting)
        connection->at_waiting = connection->n_waiting = 0;
    if (!h2_flush(&connection->h2))
        die(connection, connection->h2.failure);
    bool waits = !h2_is_flushed(&connection->h2);
    if (waits == connection->waits_for_room)
        return;
    connection->waits_for_room = waits;
    struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection};
    epoll_ctl(crowd.epoll, EPOLL_CTL_MOD, connection->h2.fd, &event);
}

static void press(int64_t number) {
    struct connection *connection = &crowd.connections[number / N_KINDS % crowd.n_connections];
    if (connection->n_waiting == connection->room) {
        connection->room = connection->room ? 2 * connection->room : 4;
        connection->waiting = memory_resize(connection->waiting, connection->room, sizeof *connection->waiting);
    }
    connection->waiting[connection->n_waiting++] = number;
    if (connection->is_open)
        flush(connection);
}

/* --- answers --- */

/* RequestPublishResponse { PublishStatus status = 1 }; call->state becomes 0 if it is for somebody else. */
static void on_message(void *arg, struct h2_call *call, const uint8_t *message, size_t n) {
    (void)arg;
    struct pb in = {message, message + n};
    struct pb_field field;
    int64_t coupon = 0, user = 0;
    call->state = 0;
    if (n == 0 || !pb_next(&in, &field) || field.number != 1 || field.type != PB_BYTES)
        return;
    in = field.bytes;
    while (in.at < in.end && pb_next(&in, &field)) {
        if (field.type != PB_VARINT)
            continue;
        if (field.number == 1)
            coupon = (int64_t)field.varint;
        else if (field.number == 2)
            user = (int64_t)field.varint;
        else if (field.number == 4)
            call->state = (int32_t)field.varint;
        else if (field.number == 5)
            call->ticket = (int64_t)field.varint;
    }
    if (coupon != crowd.coupon || user != call->number / N_KINDS + 1)
        call->state = 0;
}

static const char *outcome_of(const struct h2_call *call, const struct h2_answer *answer) {
    if (answer->is_reset)
        return "RESET";
    if (!answer->head || call->http_status != 200)
        return "BAD";
    if (answer->head->grpc_status != 0)
        return answer->head->reason[0] ? answer->head->reason : "NO_REASON";
    return call->state == 0 ? "CONTRADICTS" : call->state >= STATE_REJECTED ? "REJECTED" : "OK";
}

static void on_answer(void *arg, struct h2_call *call, const struct h2_answer *answer) {
    struct connection *connection = arg;
    struct request *request = &crowd.requests[call->number];
    int64_t at_us = connection->h2.read_us - crowd.begin_us, person = call->number / N_KINDS;
    enum kind kind = (enum kind)(call->number % N_KINDS);
    if (!answer->is_reset && answer->head && answer->head->retry_us > 0) {
        request->retries++;
        push(at_us + (int64_t)((double)answer->head->retry_us * (1 + uniform() / 2)), call->number);
        return;
    }
    if (call->ticket > crowd.greatest)
        crowd.greatest = call->ticket;
    fprintf(crowd.log, "%lld %d %lld %lld %lld %d %s %lld %lld\n", (long long)person, kind, (long long)request->due_us,
            (long long)request->sent_us, (long long)at_us, request->retries, outcome_of(call, answer),
            (long long)call->ticket, (long long)request->greatest);
    crowd.n_left--;
    int64_t share = person * 37 % 100; /* spreads them over the connections */
    if (kind != PRESS || share >= TWICE_PERCENT + REPEAT_PERCENT)
        return;
    int64_t number = person * N_KINDS + (share < TWICE_PERCENT ? TWICE : REPEAT);
    crowd.requests[number].due_us = at_us;
    crowd.n_left++;
    push(at_us, number);
}

/* --- the run --- */

static void open_connection(int64_t i) {
    struct connection *connection = &crowd.connections[i];
    snprintf(connection->source, sizeof connection->source, "127.0.0.%d", (int)(2 + i % crowd.n_sources));
    struct h2_settings settings = {.path = PATH,
                                   .authority = crowd.address,
                                   .source = connection->source,
                                   .connects_later = true,
                                   .owner = {on_message, on_answer, connection}};
    if (!h2_connect(&connection->h2, crowd.address, &settings))
        die(connection, connection->h2.failure);
    connection->is_open = true;
    fprintf(crowd.log, "C %lld\n", (long long)(clock_mono_us() - crowd.begin_us));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, connection->h2.fd, &event) != 0)
        die(connection, strerror(errno));
    flush(connection);
}

static void read_some(int64_t timeout_us) {
    struct epoll_event events[EVENTS_MAX];
    struct timespec timeout = {.tv_sec = timeout_us / US_PER_S, .tv_nsec = timeout_us % US_PER_S * 1000};
    int n = epoll_pwait2(crowd.epoll, events, EVENTS_MAX, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (events[i].events != EPOLLOUT && !h2_read(&connection->h2))
            die(connection, connection->h2.failure);
        flush(connection);
    }
}

static void run(void) {
    while (crowd.n_left > 0) {
        crowd.now_us = clock_mono_us() - crowd.begin_us;
        if (crowd.now_us > crowd.window_us + PATIENCE_US) {
            fprintf(stderr, "bench_stampede: %lld answers are missing\n", (long long)crowd.n_left);
            exit(EXIT_FAILURE);
        }
        for (int n = 0; n < EVENTS_MAX && crowd.n_heap > 0 && crowd.heap[0].at_us <= crowd.now_us; n++) {
            struct due due = pop();
            if (due.number < 0)
                open_connection(-1 - due.number);
            else
                press(due.number);
        }
        read_some(crowd.n_heap > 0 && crowd.heap[0].at_us <= crowd.now_us ? 0 : ROUND_US);
    }
}

int main(int argc, char **argv) {
    if (argc != N_ARGUMENTS || atoll(argv[4]) < 1 || atoll(argv[6]) < 1 || !(crowd.log = fopen(argv[7], "w"))) {
        fprintf(stderr, "usage: bench_stampede HOST:PORT COUPON PEOPLE CONNECTIONS SECONDS SOURCES LOG\n");
        return 2;
    }
    crowd.address = argv[1];
    crowd.coupon = atoll(argv[2]);
    crowd.people = atoll(argv[3]);
    crowd.n_connections = atoll(argv[4]);
    crowd.window_us = (int64_t)(atof(argv[5]) * US_PER_S);
    crowd.n_sources = atoll(argv[6]);
    crowd.random = SEED;
    crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd.connections = memory_new((size_t)crowd.n_connections, sizeof *crowd.connections);
    crowd.requests = memory_new((size_t)crowd.people * N_KINDS, sizeof *crowd.requests);
    plan();
    crowd.begin_us = clock_mono_us();
    int64_t wall_us = clock_wall_us();
    run();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"begin_us\":%lld,\"cpu_s\":%.3f}\n", (long long)wall_us,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S);
    return fclose(crowd.log) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
