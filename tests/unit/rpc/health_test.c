/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/health/v1/health.pb-c.h"
#include "toy.h"

static struct toy *toy;

static void set_up(void) {
    toy = toy_new(NULL);
}

static void tear_down(void) {
    toy_free(toy);
}

TestSuite(health, .init = set_up, .fini = tear_down);

enum { CHECK, WATCH };
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

static void keep_status(const ProtobufCMessage *message, void *arg) {
    *(int *)arg = (int)((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
}

/* The serving status; 100 plus the code for an error. */
static int check(const char *service) {
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    int serving = -1;
    struct rpc_status status;
    if (rpc_client_call_wait(toy->health_stub, CHECK, &request.base, TOY_WAIT_MS,
                             &(struct rpc_reader){keep_status, &serving}, &status))
        return serving;
    serving = 100 + status.code;
    rpc_status_deinit(&status);
    return serving;
}

Test(health, check_tells_what_was_set_last) {
    cr_assert_eq(check(""), NOT_SERVING, "until it is said to serve");
    rpc_health_set(toy->health, "", true);
    rpc_health_set(toy->health, "toy.v1.Toy", true);
    cr_assert_eq(check(""), SERVING);
    cr_assert_eq(check("toy.v1.Toy"), SERVING);
    rpc_health_set(toy->health, "", false);
    cr_assert_eq(check(""), NOT_SERVING);
    cr_assert_eq(check("toy.v1.Toy"), SERVING);
}

Test(health, check_of_a_service_never_set_is_not_found) {
    cr_assert_eq(check("other"), 100 + RPC_NOT_FOUND);
}

struct watch {
    struct rpc_client_call call; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int statuses[10];
    int n;
    bool is_done;
};

static void on_status(const ProtobufCMessage *message, void *closure_data) {
    struct watch *watch = closure_data;
    pthread_mutex_lock(&watch->lock);
    cr_assert_lt(watch->n, 10);
    keep_status(message, &watch->statuses[watch->n++]);
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct watch *watch = (struct watch *)call;
    (void)status;
    pthread_mutex_lock(&watch->lock);
    watch->is_done = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

static void watch_start(struct watch *watch, const char *service) {
    *watch = (struct watch){.call = {.done = on_done}};
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->changed, NULL);
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    toy->health_stub->invoke(toy->health_stub, WATCH, &request.base, on_status, watch);
}

static void watch_end(struct watch *watch) {
    rpc_client_call_cancel(&watch->call);
    TOY_WAIT(watch, watch->is_done);
}

Test(health, watch_tells_the_state_at_once_and_then_each_change) {
    struct watch whole, one;
    watch_start(&whole, "");
    watch_start(&one, "toy.v1.Toy");
    TOY_WAIT(&whole, whole.n == 1);
    TOY_WAIT(&one, one.n == 1);
    rpc_health_set(toy->health, "", false); /* no change */
    rpc_health_set(toy->health, "", true);
    rpc_health_set(toy->health, "", true); /* no change */
    rpc_health_set(toy->health, "", false);
    rpc_health_set(toy->health, "toy.v1.Toy", true);
    TOY_WAIT(&whole, whole.n == 3);
    TOY_WAIT(&one, one.n == 2);
    watch_end(&whole);
    watch_end(&one);
    const int whole_is[] = {NOT_SERVING, SERVING, NOT_SERVING};
    const int one_is[] = {SERVICE_UNKNOWN, SERVING};
    cr_assert_arr_eq(whole.statuses, whole_is, sizeof whole_is);
    cr_assert_arr_eq(one.statuses, one_is, sizeof one_is);
    cr_assert_eq(whole.n, 3);
    cr_assert_eq(one.n, 2);
}

Test(health, watchers_that_left_are_forgotten) {
    for (int i = 0; i < 50; i++) {
        struct watch watch;
        watch_start(&watch, "");
        TOY_WAIT(&watch, watch.n == 1);
        rpc_client_call_cancel(&watch.call);
        rpc_health_set(toy->health, "", i % 2 == 0); /* while the watcher leaves */
        TOY_WAIT(&watch, watch.is_done);
    }
    toy_wait_for_in_flight(toy, 0);
    rpc_health_set(toy->health, "", true);
}
