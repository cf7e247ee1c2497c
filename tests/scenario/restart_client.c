/* SPDX-License-Identifier: Apache-2.0 */
/* restart_client SERVER COUPON CALLS HELD_COUPON WATCHES: records what clients see of a server that stops and restarts.
 *
 * CALLS slots on several connections request COUPON, each request for a new user. A slot repeats a request with the
 * same request_id while the answer is UNAVAILABLE. WATCHES streams watch users 1 to WATCHES of HELD_COUPON, and one
 * stream watches the server's health, all on one connection; a stream that ends is opened again. Each answer is a line
 * on stdout:
 *
 *   call USER TRIES CODE STATE TICKET SENT_US "MESSAGE"   the last try; all earlier ones were UNAVAILABLE
 *   watch USER MESSAGES CODE RETRY_MS "MESSAGE"           the end of a stream; RETRY_MS is RetryInfo's, -1: none
 *   health STATUS                                         a message
 *   health end CODE "MESSAGE"                             the end of that stream
 *   tally WHAT CODE N "MESSAGE"                           at the end: each message of a status, and its count
 *   left N                                                at the end: the number of calls without a final answer
 *
 * Lines are in the order of events; SENT_US is of the wall clock. After SIGTERM it makes no new requests, and ends when
 * the calls in flight are answered.
 *
 * Threads: while a call runs, its callbacks own the slot or stream; after that, the main thread does. `lock` guards
 * their `due_us` and stdout. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coupons.h"
#include "grpc/health/v1/health.pb-c.h"

#define CHANNELS 4
/* The first retry comes soon, so that calls hit every moment of a stop; later retries are less frequent. */
#define RETRY_FIRST_US (1 * US_PER_MS)
#define RETRY_MAX_US   (20 * US_PER_MS)
#define TICK_NS        (1 * 1000000)
#define TIMEOUT_MS     30000 /* longer than a server takes to stop, so that no call times out */
#define PATIENCE_US    (30 * (int64_t)US_PER_S)
#define TALLIES        64

static const struct rpc_method health_methods[] = {{"Check", RPC_UNARY}, {"Watch", RPC_SERVER_STREAM}};

struct caller {
    struct rpc_client_call call; /* first, because callbacks cast its pointer to the caller */
    struct coupons_client *client;
    void (*send)(struct caller *caller);
    int64_t due_us; /* 0: in flight */
    int64_t user, tries, messages, sent_us;
    int state;
    int64_t ticket;
};

static struct {
    const char *what;
    int code;
    int64_t n;
    char message[160];
} tallies[TALLIES];

static struct {
    struct coupons_client *clients[CHANNELS];
    int64_t coupon, held_coupon;
    _Atomic int64_t next_user;
    _Atomic int64_t calls_left;
    atomic_bool is_ending;
    pthread_mutex_t lock;
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- output; the lock is held --- */

static const char *text_of(const struct rpc_status *status) {
    return status->message ? status->message : "";
}

static void count(const char *what, const struct rpc_status *status) {
    size_t i = 0;
    char message[sizeof tallies[0].message];
    snprintf(message, sizeof message, "%s", text_of(status));
    while (i < TALLIES - 1 && tallies[i].what &&
           (strcmp(tallies[i].what, what) != 0 || tallies[i].code != status->code ||
            strcmp(tallies[i].message, message) != 0))
        i++;
    tallies[i].what = what;
    tallies[i].code = status->code;
    tallies[i].n++;
    memcpy(tallies[i].message, message, sizeof message);
}

static void send_later(struct caller *caller) {
    int64_t delay_us = caller->tries * RETRY_FIRST_US;
    caller->due_us = clock_mono_us() + (delay_us < RETRY_MAX_US ? delay_us : RETRY_MAX_US);
}

/* --- calls --- */

static void on_answer(const Coupon__V1__RequestPublishResponse *response, void *closure_data) {
    struct caller *caller = closure_data;
    if (response->status && response->status->user_id == caller->user) {
        caller->state = (int)response->status->state;
        caller->ticket = response->status->ticket;
    }
}

static void send_call(struct caller *caller) {
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    char request_id[40];
    snprintf(request_id, sizeof request_id, "restart-%" PRId64, caller->user);
    request.coupon_id = client.coupon;
    request.user_id = caller->user;
    request.request_id = request_id;
    caller->state = 0;
    caller->ticket = 0;
    caller->tries++;
    caller->sent_us = clock_wall_us();
    coupon__v1__coupon_service__request_publish(
        coupons_service(caller->client, &coupon__v1__coupon_service__descriptor), &request, on_answer, caller);
}

static void next_call(struct caller *caller) {
    if (atomic_load(&client.is_ending)) {
        atomic_fetch_sub(&client.calls_left, 1);
        return;
    }
    caller->user = atomic_fetch_add(&client.next_user, 1);
    caller->tries = 0;
    send_call(caller);
}

static void on_call_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct caller *caller = (struct caller *)call;
    bool again = status->code == RPC_UNAVAILABLE;
    pthread_mutex_lock(&client.lock);
    count("call", status);
    if (again)
        send_later(caller);
    else
        printf("call %" PRId64 " %" PRId64 " %s %d %" PRId64 " %" PRId64 " \"%s\"\n", caller->user, caller->tries,
               rpc_code_name(status->code), caller->state, caller->ticket, caller->sent_us, text_of(status));
    pthread_mutex_unlock(&client.lock);
    if (!again)
        next_call(caller);
}

/* --- streams --- */

static void on_change(const Coupon__V1__WatchStatusResponse *response, void *closure_data) {
    (void)response;
    struct caller *caller = closure_data;
    caller->messages++;
    caller->tries = 0;
}

static void send_watch(struct caller *caller) {
    Coupon__V1__WatchStatusRequest request = COUPON__V1__WATCH_STATUS_REQUEST__INIT;
    request.coupon_id = client.held_coupon;
    request.user_id = caller->user;
    caller->messages = 0;
    caller->tries++;
    coupon__v1__coupon_service__watch_status(coupons_service(caller->client, &coupon__v1__coupon_service__descriptor),
                                             &request, on_change, caller);
}

static void on_watch_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct caller *caller = (struct caller *)call;
    struct coupons_failure failure;
    coupons_failure_init(&failure, status);
    pthread_mutex_lock(&client.lock);
    if (!atomic_load(&client.is_ending)) {
        count("watch", status);
        printf("watch %" PRId64 " %" PRId64 " %s %" PRId64 " \"%s\"\n", caller->user, caller->messages,
               rpc_code_name(status->code), failure.retry_after_ms, text_of(status));
        send_later(caller);
    }
    pthread_mutex_unlock(&client.lock);
    coupons_failure_deinit(&failure);
}

static void on_health(const Grpc__Health__V1__HealthCheckResponse *response, void *closure_data) {
    struct caller *caller = closure_data;
    caller->tries = 0;
    const ProtobufCEnumValue *status = protobuf_c_enum_descriptor_get_value(
        &grpc__health__v1__health_check_response__serving_status__descriptor, (int)response->status);
    pthread_mutex_lock(&client.lock);
    printf("health %s\n", status ? status->name : "?");
    pthread_mutex_unlock(&client.lock);
}

static void send_health(struct caller *caller) {
    caller->tries++;
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCService *health =
        rpc_channel_service(coupons_channel(caller->client), &grpc__health__v1__health__descriptor, health_methods,
                            sizeof health_methods / sizeof health_methods[0]);
    grpc__health__v1__health__watch(health, &request, on_health, caller);
}

static void on_health_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct caller *caller = (struct caller *)call;
    pthread_mutex_lock(&client.lock);
    if (!atomic_load(&client.is_ending)) {
        count("health", status);
        printf("health end %s \"%s\"\n", rpc_code_name(status->code), text_of(status));
        send_later(caller);
    }
    pthread_mutex_unlock(&client.lock);
}

/* --- the main thread --- */

static void send_due(struct caller *callers, size_t n) {
    int64_t now_us = clock_mono_us();
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&client.lock);
        bool is_due = callers[i].due_us && callers[i].due_us <= now_us;
        if (is_due)
            callers[i].due_us = 0;
        pthread_mutex_unlock(&client.lock);
        if (is_due)
            callers[i].send(&callers[i]);
    }
}

/* Runs until the calls have ended, or until PATIENCE_US after SIGTERM. */
static void run(struct caller *callers, size_t n, const sigset_t *signals) {
    static const struct timespec tick = {.tv_nsec = TICK_NS};
    int64_t until_us = INT64_MAX;
    while (atomic_load(&client.calls_left) > 0 && clock_mono_us() < until_us) {
        if (sigtimedwait(signals, NULL, &tick) > 0) {
            atomic_store(&client.is_ending, true);
            until_us = clock_mono_us() + PATIENCE_US;
        }
        send_due(callers, n);
        pthread_mutex_lock(&client.lock);
        fflush(stdout);
        pthread_mutex_unlock(&client.lock);
    }
}

/* Prepares the stream for health, `n_watches` watches, and the calls. All are due immediately. */
static void callers_init(struct caller *callers, size_t n, size_t n_watches) {
    for (size_t i = 0; i < n; i++) {
        struct caller *caller = &callers[i];
        caller->client = client.clients[i <= n_watches ? 0 : i % CHANNELS]; /* all streams on one connection */
        caller->due_us = 1;
        if (i == 0) {
            caller->send = send_health;
            caller->call.done = on_health_done;
        } else if (i <= n_watches) {
            caller->user = (int64_t)i;
            caller->send = send_watch;
            caller->call.done = on_watch_done;
        } else {
            caller->user = atomic_fetch_add(&client.next_user, 1);
            caller->call.timeout_ms = TIMEOUT_MS;
            caller->send = send_call;
            caller->call.done = on_call_done;
        }
    }
}

static void print_tallies(void) {
    for (size_t i = 0; i < TALLIES && tallies[i].what; i++)
        printf("tally %s %s %" PRId64 " \"%s\"\n", tallies[i].what, rpc_code_name(tallies[i].code), tallies[i].n,
               tallies[i].message);
    printf("left %" PRId64 "\n", atomic_load(&client.calls_left));
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fputs("usage: restart_client SERVER COUPON CALLS HELD_COUPON WATCHES\n", stderr);
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts */
    struct err err;
    for (size_t i = 0; i < CHANNELS; i++)
        if (!coupons_client_new(argv[1], &client.clients[i], &err)) {
            fprintf(stderr, "restart_client: %s\n", err.text);
            return 1;
        }
    client.coupon = strtoll(argv[2], NULL, 10);
    client.held_coupon = strtoll(argv[4], NULL, 10);
    client.next_user = 1;
    client.calls_left = strtoll(argv[3], NULL, 10);
    size_t n_watches = strtoul(argv[5], NULL, 10), n = 1 + n_watches + (size_t)client.calls_left;
    struct caller *callers = calloc(n, sizeof *callers);
    if (!callers)
        abort(); /* out of memory: the test fails in any case */
    callers_init(callers, n, n_watches);
    run(callers, n, &signals);
    for (size_t i = 0; i < CHANNELS; i++)
        coupons_client_free(client.clients[i]);
    print_tallies();
    free(callers);
    return 0;
}
