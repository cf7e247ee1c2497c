/* SPDX-License-Identifier: Apache-2.0 */
/* chaos_client SERVER,SERVER... LOG SEED CALLERS RATE COUPON:WEIGHT...: requests coupons and never gives up.
 *
 * CALLERS callers start at most RATE new requests per second in total. Each caller has one request at a time, for a new
 * user and one of the COUPONs. If the outcome is unknown (no answer in time, UNAVAILABLE) or the server is overloaded,
 * the caller sends the request to the next server with the same request_id, until it gets a definite answer. Now and
 * then a caller repeats an accepted request, or asks for the same user with another request_id. Each definite answer is
 * a line of LOG:
 *
 *   COUPON USER REQUEST_ID OUTCOME TICKET TRIES FIRST_SENT_US ANSWERED_US SERVER
 *
 * OUTCOME is ACCEPTED (or ISSUED), a refusal's reason, or a status code's name. All times come from one monotonic
 * clock, so a request whose FIRST_SENT_US is above another's ANSWERED_US was made after that answer.
 *
 * After SIGTERM it makes no new requests. It exits when each request in flight has its answer, or after a minute with
 * exit code 1.
 *
 * Threads: while a call runs, its callbacks own the caller; after that, the main thread does. `lock` guards `due_us` of
 * all callers and the log. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coupons.h"

#define CHANNELS         4 /* to each server */
#define SERVERS_MAX      8
#define COUPONS_MAX      64
#define TIMEOUT_MS       4000 /* longer than couponsd needs to resolve a batch whose commit was lost */
#define RETRY_FIRST_US   (5 * US_PER_MS)
#define RETRY_MAX_US     (200 * US_PER_MS)
#define TICK_NS          1000000
#define PATIENCE_US      (60 * (int64_t)US_PER_S)
#define USERS_PER_CALLER INT64_C(1000000000)
#define REPEAT_IN        50  /* 1 in REPEAT_IN accepted requests is sent again */
#define OTHER_ID_IN      200 /* 1 in OTHER_ID_IN accepted users asks again with another request_id */
#define SOLD_OUT_IN      16  /* a caller keeps 1 in SOLD_OUT_IN draws of a coupon that it knows to be sold out */
#define LOG_BUFFER_BYTES (1 << 20)
#define OUTCOME_SIZE     32

struct caller {
    struct rpc_client_call call; /* first, because on_done casts its pointer to the caller */
    uint64_t random;
    size_t server;
    int64_t due_us;  /* 0: in flight */
    int64_t turn_us; /* when the next new request is due */
    size_t coupon;
    bool is_sold_out[COUPONS_MAX]; /* by the last answer about the coupon */
    int64_t user, n_users, tries, first_sent_us;
    char request_id[48];
    bool is_again; /* the user already has an answer */
    bool is_over;
    /* the answer */
    Coupon__V1__PublishStatus__State state;
    int64_t ticket;
};

static struct {
    struct coupons_client *channels[SERVERS_MAX][CHANNELS];
    size_t n_servers, n_coupons, n_callers;
    int64_t coupon_ids[COUPONS_MAX];
    uint64_t weights[COUPONS_MAX], weight_sum;
    struct caller *callers;
    int64_t turn_every_us; /* per caller */
    FILE *log;
    atomic_size_t n_left;
    atomic_bool is_ending;
    pthread_mutex_t lock;
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Marsaglia's xorshift: cheap, and the same for the same seed. */
static uint64_t draw(struct caller *caller) {
    caller->random ^= caller->random << 13;
    caller->random ^= caller->random >> 7;
    caller->random ^= caller->random << 17;
    return caller->random >> 16;
}

/* --- requests --- */

static size_t choose_coupon(struct caller *caller) {
    for (;;) {
        uint64_t at = draw(caller) % client.weight_sum;
        size_t i = 0;
        while (at >= client.weights[i])
            at -= client.weights[i++];
        if (!caller->is_sold_out[i] || draw(caller) % SOLD_OUT_IN == 0)
            return i;
    }
}

static void choose_fresh(struct caller *caller) {
    int64_t number = caller - client.callers + 1;
    caller->user = number * USERS_PER_CALLER + ++caller->n_users;
    caller->coupon = choose_coupon(caller);
    caller->is_again = false;
    snprintf(caller->request_id, sizeof caller->request_id, "chaos-%" PRId64, caller->user);
}

static void on_answer(const Coupon__V1__RequestPublishResponse *response, void *closure_data) {
    struct caller *caller = closure_data;
    const Coupon__V1__PublishStatus *status = response->status;
    /* An answer that does not match the request stays STATE_UNSPECIFIED, which the checks reject. */
    if (status && status->user_id == caller->user && status->coupon_id == client.coupon_ids[caller->coupon] &&
        strcmp(status->request_id, caller->request_id) == 0) {
        caller->state = status->state;
        caller->ticket = status->ticket;
    }
}

static void send_call(struct caller *caller) {
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    request.coupon_id = client.coupon_ids[caller->coupon];
    request.user_id = caller->user;
    request.request_id = caller->request_id;
    caller->state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_UNSPECIFIED;
    caller->ticket = 0;
    if (caller->tries++ == 0)
        caller->first_sent_us = clock_mono_us();
    struct coupons_client *channel = client.channels[caller->server][caller->user % CHANNELS];
    coupon__v1__coupon_service__request_publish(coupons_service(channel, &coupon__v1__coupon_service__descriptor),
                                                &request, on_answer, caller);
}

/* --- answers --- */

static bool is_unknown(int code) {
    return code == RPC_UNAVAILABLE || code == RPC_DEADLINE_EXCEEDED || code == RPC_RESOURCE_EXHAUSTED ||
           code == RPC_CANCELLED;
}

static void read_outcome(struct caller *caller, const struct rpc_status *status, char ret[static OUTCOME_SIZE]) {
    if (status->code == RPC_OK) {
        bool is_issued = caller->state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED;
        bool is_accepted = caller->state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED;
        snprintf(ret, OUTCOME_SIZE, "%s", is_issued ? "ISSUED" : is_accepted ? "ACCEPTED" : "NONSENSE");
        return;
    }
    struct coupons_failure failure;
    coupons_failure_init(&failure, status);
    const char *ticket = coupons_failure_metadata(&failure, "ticket");
    snprintf(ret, OUTCOME_SIZE, "%s", coupons_failure_name(&failure));
    caller->ticket = ticket ? strtoll(ticket, NULL, 10) : 0;
    coupons_failure_deinit(&failure);
}

/* Chooses the caller's next request and its time. The lock is held. */
static void plan_next(struct caller *caller, bool was_accepted, int64_t now_us) {
    caller->tries = 0;
    caller->due_us = now_us;
    if (was_accepted && !caller->is_again && draw(caller) % REPEAT_IN == 0) {
        caller->is_again = true;
        return;
    }
    if (was_accepted && !caller->is_again && draw(caller) % OTHER_ID_IN == 0) {
        caller->is_again = true;
        snprintf(caller->request_id, sizeof caller->request_id, "other-%" PRId64, caller->user);
        return;
    }
    if (atomic_load(&client.is_ending)) {
        caller->is_over = true;
        caller->due_us = INT64_MAX;
        atomic_fetch_sub(&client.n_left, 1);
        return;
    }
    choose_fresh(caller);
    caller->turn_us += client.turn_every_us;
    if (caller->turn_us < now_us)
        caller->turn_us = now_us; /* do not make up for turns missed in an outage */
    caller->due_us = caller->turn_us;
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct caller *caller = (struct caller *)call;
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&client.lock);
    if (is_unknown(status->code)) {
        int64_t delay_us = caller->tries * RETRY_FIRST_US;
        caller->due_us = now_us + (delay_us < RETRY_MAX_US ? delay_us : RETRY_MAX_US);
        caller->server = (caller->server + 1) % client.n_servers;
    } else {
        char outcome[OUTCOME_SIZE];
        read_outcome(caller, status, outcome);
        fprintf(client.log, "%" PRId64 " %" PRId64 " %s %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %zu\n",
                client.coupon_ids[caller->coupon], caller->user, caller->request_id, outcome, caller->ticket,
                caller->tries, caller->first_sent_us, now_us, caller->server);
        caller->is_sold_out[caller->coupon] = strcmp(outcome, "SOLD_OUT") == 0;
        plan_next(caller, status->code == RPC_OK, now_us);
    }
    pthread_mutex_unlock(&client.lock);
}

/* --- the main thread --- */

static void send_due(void) {
    int64_t now_us = clock_mono_us();
    for (size_t i = 0; i < client.n_callers; i++) {
        struct caller *caller = &client.callers[i];
        pthread_mutex_lock(&client.lock);
        bool is_due = caller->due_us && caller->due_us <= now_us;
        if (is_due)
            caller->due_us = 0;
        pthread_mutex_unlock(&client.lock);
        if (is_due)
            send_call(caller);
    }
}

/* Stops the callers that wait for their next turn; the others still owe an answer. */
static void end(void) {
    pthread_mutex_lock(&client.lock);
    atomic_store(&client.is_ending, true);
    for (size_t i = 0; i < client.n_callers; i++) {
        struct caller *caller = &client.callers[i];
        if (caller->due_us && caller->tries == 0 && !caller->is_again && !caller->is_over) {
            caller->is_over = true;
            caller->due_us = INT64_MAX;
            atomic_fetch_sub(&client.n_left, 1);
        }
    }
    pthread_mutex_unlock(&client.lock);
}

static void run(const sigset_t *signals) {
    static const struct timespec tick = {.tv_nsec = TICK_NS};
    int64_t until_us = INT64_MAX;
    while (atomic_load(&client.n_left) > 0 && clock_mono_us() < until_us) {
        if (sigtimedwait(signals, NULL, &tick) > 0) {
            end();
            until_us = clock_mono_us() + PATIENCE_US;
        }
        send_due();
    }
}

/* --- set-up --- */

static bool read_coupons(int argc, char **argv) {
    for (int i = 0; i < argc && client.n_coupons < COUPONS_MAX; i++) {
        char *end;
        client.coupon_ids[client.n_coupons] = strtoll(argv[i], &end, 10);
        if (*end != ':')
            return false;
        client.weights[client.n_coupons] = strtoull(end + 1, NULL, 10);
        client.weight_sum += client.weights[client.n_coupons++];
    }
    return client.weight_sum > 0;
}

static bool connect_to(char *servers) {
    struct err err;
    char *rest = NULL;
    for (char *server = strtok_r(servers, ",", &rest); server && client.n_servers < SERVERS_MAX;
         server = strtok_r(NULL, ",", &rest)) {
        for (size_t i = 0; i < CHANNELS; i++)
            if (!coupons_client_new(server, &client.channels[client.n_servers][i], &err)) {
                fprintf(stderr, "chaos_client: %s\n", err.text);
                return false;
            }
        client.n_servers++;
    }
    return client.n_servers > 0;
}

/* Spreads the first turns over one period, so that the callers do not start in a burst. */
static void callers_init(uint64_t seed, int64_t rate) {
    int64_t now_us = clock_mono_us();
    client.turn_every_us = rate > 0 ? (int64_t)client.n_callers * US_PER_S / rate : 0;
    client.callers = calloc(client.n_callers, sizeof *client.callers);
    if (!client.callers)
        abort(); /* out of memory: the test fails in any case */
    for (size_t i = 0; i < client.n_callers; i++) {
        struct caller *caller = &client.callers[i];
        caller->random = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) + (i + 1) * UINT64_C(0xBF58476D1CE4E5B9);
        caller->random |= 1;
        caller->call.timeout_ms = TIMEOUT_MS;
        caller->call.done = on_done;
        caller->server = i % client.n_servers;
        choose_fresh(caller);
        caller->due_us = caller->turn_us = now_us + client.turn_every_us * (int64_t)i / (int64_t)client.n_callers;
    }
    atomic_store(&client.n_left, client.n_callers);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fputs("usage: chaos_client SERVER,SERVER... LOG SEED CALLERS RATE COUPON:WEIGHT...\n", stderr);
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts */
    client.log = fopen(argv[2], "we");
    client.n_callers = strtoul(argv[4], NULL, 10);
    if (!client.log || client.n_callers == 0 || !read_coupons(argc - 6, argv + 6) || !connect_to(argv[1])) {
        fputs("chaos_client: cannot write the log, or there are no callers, coupons or servers\n", stderr);
        return 2;
    }
    setvbuf(client.log, NULL, _IOFBF, LOG_BUFFER_BYTES);
    callers_init(strtoull(argv[3], NULL, 10), strtoll(argv[5], NULL, 10));
    run(&signals);
    size_t n_left = atomic_load(&client.n_left);
    for (size_t i = 0; i < client.n_servers; i++)
        for (size_t k = 0; k < CHANNELS; k++)
            coupons_client_free(client.channels[i][k]);
    if (n_left)
        fprintf(stderr, "chaos_client: %zu requests got no answer\n", n_left);
    bool ok = fclose(client.log) == 0;
    free(client.callers);
    return ok && n_left == 0 ? 0 : 1;
}
