/* SPDX-License-Identifier: Apache-2.0 */
/* The verb bench: reads the options, finds or creates the coupons, runs the parts one after the other, and judges the
 * result; see bench.h for the parts. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "status.h"

#define QUANTITY_DEFAULT    10000
#define USERS_PER_TICKET    3 /* two of three users are refused, as in a real campaign */
#define CONCURRENCY_DEFAULT 256
#define CONCURRENCY_MAX     100000
#define CONNECTIONS_MAX     1024
#define COUPONS_MAX         100000
#define REQUESTS_MAX        (INT64_C(1) << 40)
#define BITS_MAX            (INT64_C(1) << 28) /* of the tickets of one coupon: 32 MiB */
#define LOG_BUFFER_BYTES    (1 << 20)

const struct option_spec bench_options[] = {
    {"coupon", "ID", "use this coupon (default: create new ones)"},
    {"coupons", "K", "number of coupons to create (1)"},
    {"quantity", "N", "quantity of each (10000)"},
    {"users", "N", "requests per coupon, each by another user (3 x quantity)"},
    {"first-user", "N", "id of the first user (1)"},
    {"concurrency", "C", "calls in flight (256)"},
    {"connections", "K", "to each server (1)"},
    {"rate", "R", "requests per second by a timetable; latency counts from it"},
    {"repeat", "P", "percent of requests to send a second time, with the same request_id"},
    {"retry", NULL, "after no answer or OVERLOADED, send again, to the next server"},
    {"retry-for", "MS", "time limit of retries (30000); implies --retry"},
    {"no-wait", NULL, "do not wait until all accepted requests are issued"},
    {"log", "FILE", "write a line per answer: coupon user request_id outcome ticket latency_us"},
    {"run", "NAME", "first part of the request ids (default: random)"},
    {0},
};

/* --- settings --- */

static bool read_settings(struct bench *bench, int64_t *ret_connections) {
    const struct args *args = bench->ctl->args;
    if (!args_int(args, "users", 1, REQUESTS_MAX, &bench->users) ||
        !args_int(args, "first-user", 1, INT64_MAX - REQUESTS_MAX, &bench->first_user) ||
        !args_int(args, "concurrency", 1, CONCURRENCY_MAX, &bench->concurrency) ||
        !args_int(args, "connections", 1, CONNECTIONS_MAX, ret_connections) ||
        !args_int(args, "repeat", 0, 100, &bench->repeat_percent) ||
        !args_int(args, "retry-for", 0, INT64_MAX / US_PER_MS / 2, &bench->retry_for_ms) ||
        !args_double(args, "rate", &bench->rate))
        return false;
    if (args_flag(args, "rate") && !(bench->rate >= 0.001 && bench->rate <= 1e7)) {
        args_refuse(args, "--rate: give requests per second, from 0.001 to 10000000");
        return false;
    }
    bench->retry = args_flag(args, "retry") || args_flag(args, "retry-for");
    bench->no_wait = args_flag(args, "no-wait");
    const char *run = args_text(args, "run");
    if (run && (strlen(run) > RUN_LEN_MAX || *run == '\0' || strpbrk(run, " \t\n\"\\"))) {
        args_refuse(args, "--run: give 1 to %d bytes without spaces, quotes and backslashes", RUN_LEN_MAX);
        return false;
    }
    char uuid[COUPONS_REQUEST_ID_SIZE];
    coupons_request_id(uuid);
    snprintf(bench->run, sizeof bench->run, "%.*s", run ? RUN_LEN_MAX : 8, run ? run : uuid);
    return true;
}

static bool open_log(struct bench *bench) {
    const char *path = args_text(bench->ctl->args, "log");
    if (!path)
        return true;
    bench->log = fopen(path, "we");
    if (!bench->log) {
        args_refuse(bench->ctl->args, "--log: cannot write %s: %s", path, strerror(errno));
        return false;
    }
    setvbuf(bench->log, NULL, _IOFBF, LOG_BUFFER_BYTES);
    return true;
}

static bool close_log(struct bench *bench) {
    if (!bench->log)
        return true;
    bool ok = !ferror(bench->log);
    ok = fclose(bench->log) == 0 && ok;
    bench->log = NULL;
    if (!ok)
        failure_print_text(bench->ctl->json, "LOG", "--log: could not write the whole file: is the disk full?");
    return ok;
}

/* --- connections --- */

static struct remote *connect_to_all(const struct ctl *ctl, size_t per_server, size_t *ret_n) {
    size_t n = ctl->servers.n * per_server;
    struct remote *remotes = memory_new(n, sizeof *remotes);
    for (*ret_n = 0; *ret_n < n; (*ret_n)++)
        if (!remote_init(&remotes[*ret_n], ctl, ctl->servers.targets[*ret_n % ctl->servers.n]))
            break;
    return remotes;
}

static void disconnect(struct remote *remotes, size_t n) {
    for (size_t i = 0; i < n; i++)
        remote_deinit(&remotes[i]);
    free(remotes);
}

/* --- coupons --- */

static void coupon_init(struct bench_coupon *coupon, const Coupon__V1__Coupon *is) {
    *coupon = (struct bench_coupon){.id = is->id,
                                    .quantity = is->quantity,
                                    .accepted_before = is->accepted,
                                    .issued_before = is->issued,
                                    .accepted = is->accepted,
                                    .issued = is->issued};
}

/* Gets or creates a coupon. Does not retry: without a server there is nothing to measure. */
static bool coupon_from(struct bench *bench, const ProtobufCMessage *request, struct bench_coupon *coupon,
                        int *ret_exit_code) {
    /* CreateCouponResponse has the same layout, as admin.c asserts. */
    Coupon__V1__GetCouponResponse *response = ctl_call(bench->ctl, &bench->watchers[0], request, NULL, ret_exit_code);
    if (!response)
        return false;
    const Coupon__V1__Coupon *is = response->coupon;
    if (is)
        coupon_init(coupon, is);
    else
        *ret_exit_code = EXIT_REFUSED;
    bool ok = is != NULL;
    coupons_free(response);
    return ok;
}

static bool create_coupons(struct bench *bench, int64_t quantity, int *ret_exit_code) {
    for (size_t i = 0; i < bench->n_coupons; i++) {
        char name[RUN_LEN_MAX + 16], request_id[RUN_LEN_MAX + 32];
        snprintf(name, sizeof name, "bench %s", bench->run);
        snprintf(request_id, sizeof request_id, "%s-create-%zu", bench->run, i);
        Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
        coupon.name = name;
        coupon.quantity = quantity;
        Coupon__V1__CreateCouponRequest request = COUPON__V1__CREATE_COUPON_REQUEST__INIT;
        request.coupon = &coupon;
        request.request_id = request_id;
        if (!coupon_from(bench, &request.base, &bench->coupons[i], ret_exit_code))
            return false;
    }
    return true;
}

static bool find_coupons(struct bench *bench, int *ret_exit_code) {
    const struct args *args = bench->ctl->args;
    int64_t n = 1, quantity = QUANTITY_DEFAULT;
    Coupon__V1__GetCouponRequest request = COUPON__V1__GET_COUPON_REQUEST__INIT;
    *ret_exit_code = EXIT_USAGE;
    if (!args_int(args, "coupon", INT64_MIN, INT64_MAX, &request.coupon_id) ||
        !args_int(args, "coupons", 1, COUPONS_MAX, &n) || !args_int(args, "quantity", INT64_MIN, INT64_MAX, &quantity))
        return false;
    if (args_flag(args, "coupon") && (args_flag(args, "coupons") || args_flag(args, "quantity"))) {
        args_refuse(args, "--coupon names an existing coupon: leave out --coupons and --quantity");
        return false;
    }
    bench->n_coupons = (size_t)n;
    bench->coupons = memory_new(bench->n_coupons, sizeof *bench->coupons);
    return args_flag(args, "coupon") ? coupon_from(bench, &request.base, &bench->coupons[0], ret_exit_code)
                                     : create_coupons(bench, quantity, ret_exit_code);
}

/* Calculates the number of requests, and allocates a bit for each ticket that may come. */
static bool plan(struct bench *bench) {
    if (bench->users == 0)
        bench->users = bench->coupons[0].quantity <= REQUESTS_MAX / USERS_PER_TICKET
                           ? bench->coupons[0].quantity * USERS_PER_TICKET
                           : REQUESTS_MAX;
    int64_t total;
    if (__builtin_mul_overflow(bench->users, (int64_t)bench->n_coupons, &total) || total > REQUESTS_MAX) {
        args_refuse(bench->ctl->args, "--users: that makes more than %" PRId64 " requests", REQUESTS_MAX);
        return false;
    }
    for (size_t i = 0; i < bench->n_coupons; i++) {
        struct bench_coupon *coupon = &bench->coupons[i];
        int64_t bits = coupon->quantity - coupon->accepted_before;
        /* Other clients may take tickets too, and quantities may grow. Tickets beyond these bits are not checked. */
        bits = bits > bench->users * 4 ? bench->users * 4 : bits;
        coupon->n_bits = bits > BITS_MAX ? BITS_MAX : bits > 0 ? bits : 0;
        coupon->tickets = memory_new((size_t)coupon->n_bits / 64 + 1, sizeof *coupon->tickets);
    }
    return true;
}

/* --- the end --- */

/* True if no server answered any call. */
static bool was_silent(const struct bench_result *result) {
    for (size_t i = 0; i < result->n_outcomes; i++) {
        const char *name = result->outcomes[i].name;
        if (strcmp(name, rpc_code_name(RPC_UNAVAILABLE)) != 0 &&
            strcmp(name, rpc_code_name(RPC_DEADLINE_EXCEEDED)) != 0 && strcmp(name, rpc_code_name(RPC_CANCELLED)) != 0)
            return false;
    }
    return true;
}

static int judge(const struct bench *bench) {
    const struct bench_result *result = &bench->result;
    int64_t accepted = 0, issued = 0;
    for (size_t i = 0; i < bench->n_coupons; i++) {
        accepted += bench->coupons[i].accepted;
        issued += bench->coupons[i].issued;
    }
    if (result->contradictions > 0) {
        fprintf(stderr, "couponctl: %" PRId64 " answers contradict each other; the first: %s\n", result->contradictions,
                result->contradiction);
        return EXIT_INCONSISTENT;
    }
    if (result->is_interrupted) {
        fputs("couponctl: interrupted: the results above are those of the requests sent so far\n", stderr);
        return EXIT_INCONSISTENT;
    }
    if (was_silent(result)) {
        fputs("couponctl: couponsd answered no call: is it still running?\n", stderr);
        return EXIT_UNREACHABLE;
    }
    if (!bench->no_wait && !result->is_drained) {
        fprintf(stderr,
                "couponctl: not drained: 60 s after the load, %" PRId64 " of %" PRId64
                " accepted requests were issued; the log of couponsd and couponsd_issue_lag_messages show why\n",
                issued, accepted);
        return EXIT_INCONSISTENT;
    }
    return EXIT_OK;
}

static int measure(struct bench *bench) {
    struct issue_watch *watch = bench->no_wait ? NULL : issue_watch_start(bench);
    bench_load(bench);
    issue_watch_stop(watch);
    bool has_log = close_log(bench);
    if (!bench->no_wait) {
        bench_drain(bench);
        if (!bench->result.is_interrupted)
            bench_ask_samples(bench);
    }
    bench_report(bench);
    int exit_code = judge(bench);
    return exit_code == EXIT_OK && !has_log ? EXIT_INCONSISTENT : exit_code;
}

int verb_bench(struct ctl *ctl) {
    struct bench *bench = memory_new(1, sizeof *bench);
    bench->ctl = ctl;
    bench->first_user = 1;
    bench->concurrency = CONCURRENCY_DEFAULT;
    bench->retry_for_ms = RETRY_FOR_MS_DEFAULT;
    pthread_mutex_init(&bench->lock, NULL);
    bench_block_signals();

    int exit_code = EXIT_USAGE;
    int64_t connections = 1;
    if (!read_settings(bench, &connections) || !open_log(bench))
        goto out;
    bench->remotes = connect_to_all(ctl, (size_t)connections, &bench->n_remotes);
    bench->watchers = connect_to_all(ctl, 1, &bench->n_watchers);
    if (bench->n_remotes < ctl->servers.n * (size_t)connections || bench->n_watchers < ctl->servers.n)
        exit_code = EXIT_UNREACHABLE;
    else if (find_coupons(bench, &exit_code))
        exit_code = plan(bench) ? measure(bench) : EXIT_USAGE;
out:
    if (bench->log)
        close_log(bench);
    disconnect(bench->remotes, bench->n_remotes);
    disconnect(bench->watchers, bench->n_watchers);
    for (size_t i = 0; i < bench->n_coupons; i++)
        free(bench->coupons[i].tickets);
    free(bench->coupons);
    pthread_mutex_destroy(&bench->lock);
    free(bench);
    return exit_code;
}
