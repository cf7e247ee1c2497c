/* SPDX-License-Identifier: Apache-2.0 */
/* chaos_client SERVER,SERVER... LOG SEED CALLERS RATE COUPON:WEIGHT...: users who never give up.
 *
 * CALLERS callers, all together at most RATE requests a second, each with one request at a time, which is that of a
 * fresh user for one of the COUPONs. Where the outcome is not known (no answer in time, UNAVAILABLE) or the server is
 * overloaded, the request is sent again with the same request_id, to the next server, until there is a definite answer.
 * Now and then one that was accepted is sent once more, or the same user asks with another request_id. Each definite
 * answer is a line of LOG:
 *
 *   COUPON USER REQUEST_ID OUTCOME TICKET TRIES FIRST_SENT_US ANSWERED_US SERVER
 *
 * OUTCOME is ACCEPTED (or ISSUED), a refusal's reason, or a status code's name. Times are of one monotonic clock: a
 * request whose FIRST_SENT_US is above another's ANSWERED_US was made by somebody who knew of that answer.
 *
 * SIGTERM: no fresh requests; it ends once each of those under way has its answer, else after a minute with exit
 * code 1.
 *
 * Threads: a caller is its call's until that has ended, and then waits for the main thread to send it again. `lock`
 * guards `due_us` of all callers and the log. */
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
#define TIMEOUT_MS       4000 /* longer than couponsd tries to find out what became of a batch */
#define RETRY_FIRST_US   (5 * US_PER_MS)
#define RETRY_MAX_US     (200 * US_PER_MS)
#define TICK_NS          1000000
#define PATIENCE_US      (60 * (int64_t)US_PER_S)
#define USERS_PER_CALLER INT64_C(1000000000)
#define REPEAT_IN        50  /* one of so many that were accepted is sent again */
#define OTHER_ID_IN      200 /* one of so many users asks with another request_id */
#define SOLD_OUT_IN      16  /* so seldom a caller asks for what it knows to be sold out */
#define LOG_BUFFER_BYTES (1 << 20)
#define OUTCOME_SIZE     32

struct caller {
    struct rpc_client_call call; /* first: what the closure gets */
    uint64_t random;
    size_t server;
    int64_t due_us;  /* 0: under way */
    int64_t turn_us; /* when the next fresh request is due */
    size_t coupon;
    bool is_sold_out[COUPONS_MAX]; /* as far as it was told */
    int64_t user, n_users, tries, first_sent_us;
    char request_id[48];
    bool is_again; /* of a user who was answered already */
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
    int64_t turn_every_us; /* of one caller */
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

/* --- what is asked --- */

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
    /* What contradicts the question stays STATE_UNSPECIFIED, which no request may be told. */
    if (status && status->user_id == caller->user && status->coupon_id == client.coupon_ids[caller->coupon] &&
        strcmp(status->request_id, caller->request_id) == 0) {
        caller->state = status->state;
        caller->ticket = status->ticket;
    }
}

/* The first try, or another. */
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

/* --- what is answered --- */

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

/* What the caller does next, and when. The lock is held. */
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
        caller->turn_us = now_us; /* what was missed in an outage is not made up for */
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

/* Callers that wait for their turn stop without an answer. */
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

/* Turns are spread over time from the beginning. */
static void callers_init(uint64_t seed, int64_t rate) {
    int64_t now_us = clock_mono_us();
    client.turn_every_us = rate > 0 ? (int64_t)client.n_callers * US_PER_S / rate : 0;
    client.callers = calloc(client.n_callers, sizeof *client.callers);
    if (!client.callers)
        abort();
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
        fputs("chaos_client: no log, no callers, no coupons or no servers\n", stderr);
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
        fprintf(stderr, "chaos_client: %zu requests were left without an answer\n", n_left);
    bool ok = fclose(client.log) == 0;
    free(client.callers);
    return ok && n_left == 0 ? 0 : 1;
}
