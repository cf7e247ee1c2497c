/* SPDX-License-Identifier: Apache-2.0 */
/* smoke HOST:PORT: tests the installed library against a couponsd. Start couponsd after this program has printed
 * "calling". The last line of stdout is a JSON object with the results. On a failure, the exit code is 1 and stderr
 * explains it. */
#include <coupons.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BURST      500
#define BURSTS_MAX 20
#define IN_FLIGHT  250
#define TIMEOUT_MS 60000

static atomic_int unavailable_retries, overloaded_retries;

static void check(bool ok, const char *expected, const char *got) {
    if (ok)
        return;
    fprintf(stderr, "expected %s, got %s\n", expected, got);
    _Exit(1); /* not exit(): other threads may be running */
}

static void count_retry(const struct coupons_failure *failure, int64_t delay_ms, void *arg) {
    (void)arg;
    if (failure->code != RPC_RESOURCE_EXHAUSTED) {
        atomic_fetch_add(&unavailable_retries, failure->code == RPC_UNAVAILABLE);
        return;
    }
    check(strcmp(failure->reason, "OVERLOADED") == 0, "the reason OVERLOADED", coupons_failure_name(failure));
    check(failure->retry_after_ms > 0 && delay_ms >= failure->retry_after_ms, "a delay of at least RetryInfo's",
          "less");
    atomic_fetch_add(&overloaded_retries, 1);
}

static const struct coupons_retry retry = {.timeout_ms = TIMEOUT_MS, .on_retry = count_retry};

/* Returns the response. A refusal ends the program. */
static void *call(struct coupons_client *client, const ProtobufCMessage *request) {
    struct coupons_failure failure;
    void *response = coupons_call(client, request, &retry, &failure);
    if (!response)
        check(false, "an answer", coupons_failure_name(&failure));
    return response;
}

static int64_t create(struct coupons_client *client, int64_t quantity) {
    Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
    uint64_t random;
    check(getrandom(&random, sizeof random, 0) == sizeof random, "random bytes", "none");
    coupon.id = (int64_t)(random >> 11 | 1);
    coupon.name = "smoke";
    coupon.quantity = quantity;
    char request_id[COUPONS_REQUEST_ID_SIZE];
    coupons_request_id(request_id);
    Coupon__V1__CreateCouponRequest request = COUPON__V1__CREATE_COUPON_REQUEST__INIT;
    request.coupon = &coupon;
    request.request_id = request_id;
    coupons_free(call(client, &request.base));
    return coupon.id;
}

static Coupon__V1__RequestPublishRequest request_of(int64_t coupon_id, int64_t user_id, char *request_id) {
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    request.coupon_id = coupon_id;
    request.user_id = user_id;
    request.request_id = request_id;
    return request;
}

static void expect_refusal(struct coupons_client *client, const Coupon__V1__RequestPublishRequest *request, int code,
                           const char *reason, const char *name, const char *text) {
    struct coupons_failure failure;
    check(!coupons_call(client, &request->base, &retry, &failure), reason, "an answer");
    check(failure.code == code && strcmp(failure.reason, reason) == 0, reason, coupons_failure_name(&failure));
    const char *got = coupons_failure_metadata(&failure, name);
    check(got && strcmp(got, text) == 0, text, got ? got : "nothing");
    coupons_failure_deinit(&failure);
}

/* A call without a request_id sends a random one, and leaves the caller's request as it is. */
static void expect_id_filled_in(struct coupons_client *client) {
    Coupon__V1__RequestPublishRequest request = request_of(create(client, 2), 1, (char *)"");
    Coupon__V1__RequestPublishResponse *response = call(client, &request.base);
    check(strlen(response->status->request_id) == COUPONS_REQUEST_ID_SIZE - 1, "a random request_id",
          response->status->request_id);
    check(request.request_id[0] == '\0', "the caller's request unchanged", request.request_id);
    coupons_free(response);
    expect_refusal(client, &request, RPC_ALREADY_EXISTS, "ALREADY_REQUESTED", "ticket", "1");

    Coupon__V1__AddQuantityRequest more = COUPON__V1__ADD_QUANTITY_REQUEST__INIT;
    more.coupon_id = request.coupon_id;
    more.quantity = 3;
    Coupon__V1__AddQuantityResponse *added = call(client, &more.base);
    check(added->coupon->quantity == 5, "a quantity of 5", "another");
    check(more.request_id[0] == '\0', "the caller's request unchanged", more.request_id);
    coupons_free(added);
}

struct seen {
    int n;
    Coupon__V1__PublishStatus__State state;
    int64_t ticket;
};

static void on_status(const Coupon__V1__PublishStatus *status, void *arg) {
    struct seen *seen = arg;
    *seen = (struct seen){seen->n + 1, status->state, status->ticket};
}

static void expect_issued(struct coupons_client *client, int64_t coupon_id) {
    Coupon__V1__WatchStatusRequest request = COUPON__V1__WATCH_STATUS_REQUEST__INIT;
    request.coupon_id = coupon_id;
    request.user_id = 1;
    struct seen seen = {0};
    struct coupons_failure failure;
    if (!coupons_watch(client, &request, TIMEOUT_MS, on_status, &seen, &failure))
        check(false, "a stream that the server ends", coupons_failure_name(&failure));
    check(seen.n > 0 && seen.state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED && seen.ticket == 1,
          "a stream that ends with ISSUED, ticket 1", "another end");
}

static void expect_held(struct coupons_client *client, int64_t coupon_id) {
    Coupon__V1__ListUserCouponsRequest request = COUPON__V1__LIST_USER_COUPONS_REQUEST__INIT;
    request.user_id = 1;
    Coupon__V1__ListUserCouponsResponse *held = call(client, &request.base);
    bool is_held = false;
    for (size_t i = 0; i < held->n_user_coupons; i++)
        is_held |= held->user_coupons[i]->coupon_id == coupon_id && held->user_coupons[i]->ticket == 1;
    check(is_held, "the coupon in the user's list", "only others");
    coupons_free(held);
}

/* --- overload --- */

struct burst {
    struct coupons_client *client;
    int64_t coupon_id;
    atomic_int next_user;
    atomic_bool has_ticket[BURST + 1];
};

static void *request_some(void *arg) {
    struct burst *burst = arg;
    int user;
    while ((user = atomic_fetch_add(&burst->next_user, 1)) <= BURST) {
        char request_id[32];
        snprintf(request_id, sizeof request_id, "burst %d", user);
        Coupon__V1__RequestPublishRequest request = request_of(burst->coupon_id, user, request_id);
        Coupon__V1__RequestPublishResponse *response = call(burst->client, &request.base);
        int64_t ticket = response->status->ticket;
        check(ticket >= 1 && ticket <= BURST && !atomic_exchange(&burst->has_ticket[ticket], true),
              "each ticket from 1 on once", "another ticket, or a ticket twice");
        coupons_free(response);
    }
    return NULL;
}

/* Sends bursts until a try is answered OVERLOADED. In the end, each request must be accepted with a ticket of its
 * own. */
static void overload(struct coupons_client *client) {
    for (int i = 0; i < BURSTS_MAX && !atomic_load(&overloaded_retries); i++) {
        struct burst burst = {.client = client, .coupon_id = create(client, 2L * BURST), .next_user = 1};
        pthread_t threads[IN_FLIGHT];
        for (int t = 0; t < IN_FLIGHT; t++)
            check(pthread_create(&threads[t], NULL, request_some, &burst) == 0, "a thread", "none");
        for (int t = 0; t < IN_FLIGHT; t++)
            pthread_join(threads[t], NULL);
    }
    check(atomic_load(&overloaded_retries) > 0, "OVERLOADED", "none in any burst");
}

int main(int argc, char **argv) {
    struct coupons_client *client;
    struct err err;
    check(argc == 2, "HOST:PORT", "no argument");
    check(coupons_client_new(argv[1], &client, &err), "a client", err.text);
    puts("calling");
    fflush(stdout);

    int64_t coupon_id = create(client, 1);
    char coupon[32];
    snprintf(coupon, sizeof coupon, "%" PRId64, coupon_id);
    Coupon__V1__RequestPublishRequest request = request_of(coupon_id, 1, "first");
    Coupon__V1__RequestPublishResponse *first = call(client, &request.base), *again = call(client, &request.base);
    check((first->status->state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED ||
           first->status->state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED) &&
              first->status->ticket == 1,
          "the state accepted and ticket 1", "another state or ticket");
    check(again->status->ticket == 1 && again->status->accept_time->nanos == first->status->accept_time->nanos,
          "the first answer again", "another");
    coupons_free(first);
    coupons_free(again);

    request = request_of(coupon_id, 1, "other");
    expect_refusal(client, &request, RPC_ALREADY_EXISTS, "ALREADY_REQUESTED", "ticket", "1");
    request = request_of(coupon_id, 2, "late");
    expect_refusal(client, &request, RPC_FAILED_PRECONDITION, "SOLD_OUT", "coupon_id", coupon);
    expect_issued(client, coupon_id);
    expect_held(client, coupon_id);
    expect_id_filled_in(client);
    overload(client);
    coupons_client_free(client);
    printf(
        "{\"client\": \"c\", \"coupon_id\": \"%s\", \"ticket\": 1, \"reasons\": [\"ALREADY_REQUESTED\", \"SOLD_OUT\"], "
        "\"unavailable_retries\": %d, \"overloaded_retries\": %d}\n",
        coupon, atomic_load(&unavailable_retries), atomic_load(&overloaded_retries));
    return 0;
}
