/* SPDX-License-Identifier: Apache-2.0 */
/* The design that couponsd replaces, as a small real service. compare.py measures couponsd against it.
 *
 *   predecessor --listen HOST:PORT --postgres URL --redis HOST:PORT [--interval-ms N]
 *
 * RequestPublish checks coupon:available:{id}, adds the user to the sorted set coupon:requests:{id} by time (ZADD NX)
 * and answers ACCEPTED, without a ticket and without a row in Postgres. In each interval, a first job takes the
 * earliest users that the coupon still has room for and issues to them in bulk. A second job closes coupons that are
 * used up: it sets the status to CLOSED and the flag to false, and deletes the sorted set. GetCoupon reports progress.
 * SQL creates the tables and the coupons.
 *
 * It uses the same bridge, Redis library and Postgres library as couponsd, and batches its Redis commands, so that the
 * comparison is between the designs. Run only one instance: without a lock around the jobs, two would issue twice.
 * Prints "ready HOST:PORT". */
#include <getopt.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/methods.h"
#include "base/arena.h"
#include "base/batch_queue.h"
#include "base/clock.h"
#include "base/ticker.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "descriptor_set.h"
#include "rpc/server.h"
#include "store/pg.h"

#define QUEUE_SIZE    16384 /* couponsd's default flow.queue_size */
#define BATCH_MAX     2048  /* couponsd's default gate.batch_max */
#define BULK          1000  /* users issued in one statement */
#define ARENA_BLOCK   65536
#define PG_TIMEOUT_MS 60000

struct request {
    int64_t coupon_id, user_id, wall_us;
    const char *request_id;
    ProtobufCClosure closure; /* answers RequestPublish */
    void *closure_data;
};

static struct settings {
    const char *listen, *postgres, *redis_host;
    int redis_port;
    int64_t interval_ms;
} settings = {.listen = "127.0.0.1:0", .redis_host = "127.0.0.1", .interval_ms = 60000};

static struct batch_queue *queue;

/* --- Redis --- */

static void redis_drop(redisContext **redis) {
    if (*redis)
        redisFree(*redis);
    *redis = NULL;
}

static bool redis_connect(redisContext **redis) {
    if (!*redis)
        *redis = redisConnect(settings.redis_host, settings.redis_port);
    if (*redis && !(*redis)->err)
        return true;
    redis_drop(redis);
    return false;
}

/* Returns the next reply of the pipeline. After a failure it returns NULL and has closed the connection. */
static redisReply *redis_reply(redisContext **redis) {
    void *reply = NULL;
    if (*redis && redisGetReply(*redis, &reply) != REDIS_OK)
        redis_drop(redis);
    return reply;
}

/* --- RequestPublish --- */

static bool ask_flags(redisContext **redis, struct request *const *requests, size_t n, bool *ret_open) {
    if (!redis_connect(redis))
        return false;
    for (size_t i = 0; i < n; i++)
        redisAppendCommand(*redis, "GET coupon:available:%lld", (long long)requests[i]->coupon_id);
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = redis_reply(redis);
        ret_open[i] = reply && (reply->type != REDIS_REPLY_STRING || strcmp(reply->str, "false") != 0);
        freeReplyObject(reply);
    }
    return *redis != NULL;
}

/* NX: a user who is already in the set keeps the earlier time. */
static bool add_to_sets(redisContext **redis, struct request *const *requests, const bool *open, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (open[i])
            redisAppendCommand(*redis, "ZADD coupon:requests:%lld NX %lld %lld", (long long)requests[i]->coupon_id,
                               (long long)requests[i]->wall_us, (long long)requests[i]->user_id);
    for (size_t i = 0; i < n; i++)
        if (open[i])
            freeReplyObject(redis_reply(redis));
    return *redis != NULL;
}

static void answer(const struct request *request, bool open) {
    struct rpc_call *call = rpc_call_of(request->closure_data);
    if (!open) {
        answer_refusal(call, request->coupon_id, REFUSAL_SOLD_OUT, NULL);
        return;
    }
    Coupon__V1__PublishStatus status = COUPON__V1__PUBLISH_STATUS__INIT;
    Google__Protobuf__Timestamp accept_time;
    timestamp_init(&accept_time, request->wall_us);
    status.coupon_id = request->coupon_id;
    status.user_id = request->user_id;
    status.request_id = (char *)(uintptr_t)request->request_id; /* protobuf-c wants char * */
    status.state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED;
    status.accept_time = &accept_time;
    Coupon__V1__RequestPublishResponse response = COUPON__V1__REQUEST_PUBLISH_RESPONSE__INIT;
    response.status = &status;
    request->closure(&response.base, request->closure_data);
}

static void *ask(void *arg) {
    (void)arg;
    static struct request *requests[BATCH_MAX];
    static bool open[BATCH_MAX];
    redisContext *redis = NULL;
    while (!batch_queue_is_drained(queue)) {
        size_t n = batch_queue_take(queue, (void **)requests, BATCH_MAX, -1);
        bool ok = ask_flags(&redis, requests, n, open) && add_to_sets(&redis, requests, open, n);
        for (size_t i = 0; i < n; i++) {
            struct err err;
            err_set(&err, ERR_UNAVAILABLE, BACKEND_REDIS, "Redis does not answer");
            if (ok)
                answer(requests[i], open[i]);
            else
                answer_backend(rpc_call_of(requests[i]->closure_data), &err);
        }
    }
    redis_drop(&redis);
    return NULL;
}

static void request_publish(const Coupon__V1__RequestPublishRequest *input, ProtobufCClosure closure,
                            void *closure_data) {
    struct rpc_call *call = rpc_call_of(closure_data);
    struct request *request = rpc_call_alloc(call, sizeof *request);
    *request =
        (struct request){input->coupon_id, input->user_id, clock_wall_us(), input->request_id, closure, closure_data};
    if (!batch_queue_push(queue, request))
        answer_overloaded(call);
}

/* --- GetCoupon --- */

static pthread_mutex_t reader_lock = PTHREAD_MUTEX_INITIALIZER; /* guards reader */
static struct pg *reader;

static const struct pg_statement select_coupon = {
    "select quantity, (select count(*) from user_coupon where coupon_id = $1), status from coupon where id = $1"};

/* Blocks the poller, which is acceptable because only compare.py calls it, and rarely. */
static void get_coupon(const Coupon__V1__GetCouponRequest *input, ProtobufCClosure closure, void *closure_data) {
    struct arena arena;
    arena_init(&arena, ARENA_BLOCK);
    struct pg_args args = {0};
    struct err err;
    PGresult *result;
    pg_arg_int8(&args, &arena, input->coupon_id);
    pthread_mutex_lock(&reader_lock);
    bool ok = pg_connect(reader, &err);
    if (ok) {
        pg_send(reader, &select_coupon, &args);
        ok = pg_collect(reader, &result, 1, &err);
    }
    pthread_mutex_unlock(&reader_lock);
    arena_deinit(&arena);
    struct rpc_call *call = rpc_call_of(closure_data);
    if (!ok) {
        answer_backend(call, &err);
        return;
    }
    if (PQntuples(result) == 0) {
        answer_refusal(call, input->coupon_id, REFUSAL_COUPON_NOT_FOUND, NULL);
    } else {
        Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
        coupon.id = input->coupon_id;
        coupon.quantity = pg_int8(result, 0, 0);
        coupon.issued = pg_int8(result, 0, 1);
        coupon.status = (Coupon__V1__Coupon__Status)pg_int2(result, 0, 2);
        Coupon__V1__GetCouponResponse response = COUPON__V1__GET_COUPON_RESPONSE__INIT;
        response.coupon = &coupon;
        closure(&response.base, closure_data);
    }
    pg_clear(&result, 1);
}

/* --- the jobs --- */

struct job {
    bool (*run)(struct job *job, int64_t coupon_id, int64_t room, struct err *err);
    const struct pg_statement *select;
    struct pg *pg;
    redisContext *redis;
};

/* The coupons that each job works on, with the quantity left of each. */
static const struct pg_statement select_open = {
    "select id, quantity - (select count(*) from user_coupon where coupon_id = id) from coupon where status = 1"};
static const struct pg_statement select_used_up = {
    "select id, 0::bigint from coupon where status = 1 and"
    " quantity <= (select count(*) from user_coupon where coupon_id = id)"};
static const struct pg_statement insert_users = {
    "insert into user_coupon (coupon_id, user_id, request_time, issue_time)"
    " select $1, user_id, to_timestamp(micros / 1000000.0), clock_timestamp()"
    " from unnest($2::bigint[], $3::bigint[]) as u (user_id, micros) on conflict do nothing"};
static const struct pg_statement close_coupon = {"update coupon set status = 3 where id = $1"};

static bool issue_some(struct job *job, int64_t coupon_id, const redisReply *earliest, struct err *err) {
    int64_t users[BULK], micros[BULK];
    size_t n = earliest->elements / 2;
    for (size_t i = 0; i < n; i++) {
        users[i] = strtoll(earliest->element[2 * i]->str, NULL, 10);
        micros[i] = (int64_t)strtod(earliest->element[2 * i + 1]->str, NULL);
    }
    struct arena arena;
    arena_init(&arena, ARENA_BLOCK);
    struct pg_args args = {0};
    pg_arg_int8(&args, &arena, coupon_id);
    pg_arg_int8s(&args, &arena, users, n);
    pg_arg_int8s(&args, &arena, micros, n);
    pg_send(job->pg, &insert_users, &args);
    PGresult *result;
    bool ok = pg_collect(job->pg, &result, 1, err);
    arena_deinit(&arena);
    if (ok)
        pg_clear(&result, 1);
    return ok;
}

/* The first job: issues to the earliest users until the coupon is used up or nobody is waiting. */
static bool issue(struct job *job, int64_t coupon_id, int64_t room, struct err *err) {
    while (room > 0) {
        int64_t last = (room < BULK ? room : BULK) - 1;
        redisReply *earliest = redisCommand(job->redis, "ZRANGE coupon:requests:%lld 0 %lld WITHSCORES",
                                            (long long)coupon_id, (long long)last);
        int64_t n = earliest && earliest->type == REDIS_REPLY_ARRAY ? (int64_t)earliest->elements / 2 : -1;
        bool ok = n >= 0 || err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "Redis does not answer");
        if (n > 0)
            ok = issue_some(job, coupon_id, earliest, err);
        freeReplyObject(earliest);
        if (!ok || n == 0)
            return ok;
        freeReplyObject(redisCommand(job->redis, "ZREMRANGEBYRANK coupon:requests:%lld 0 %lld", (long long)coupon_id,
                                     (long long)n - 1));
        room -= n;
    }
    return true;
}

/* The second job: closes the coupon. */
static bool finish(struct job *job, int64_t coupon_id, int64_t room, struct err *err) {
    (void)room;
    struct arena arena;
    arena_init(&arena, ARENA_BLOCK);
    struct pg_args args = {0};
    pg_arg_int8(&args, &arena, coupon_id);
    pg_send(job->pg, &close_coupon, &args);
    PGresult *result;
    bool ok = pg_collect(job->pg, &result, 1, err);
    arena_deinit(&arena);
    if (!ok)
        return false;
    pg_clear(&result, 1);
    freeReplyObject(redisCommand(job->redis, "SET coupon:available:%lld false", (long long)coupon_id));
    freeReplyObject(redisCommand(job->redis, "DEL coupon:requests:%lld", (long long)coupon_id));
    return true;
}

static bool run_job(struct job *job, struct err *err) {
    if (!pg_connect(job->pg, err))
        return false;
    if (job->redis && job->redis->err)
        redis_drop(&job->redis);
    if (!redis_connect(&job->redis))
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "Redis does not answer");
    PGresult *coupons;
    pg_send(job->pg, job->select, NULL);
    if (!pg_collect(job->pg, &coupons, 1, err))
        return false;
    bool ok = true;
    for (int i = 0; ok && i < PQntuples(coupons); i++)
        ok = job->run(job, pg_int8(coupons, i, 0), pg_int8(coupons, i, 1), err);
    pg_clear(&coupons, 1);
    return ok;
}

#define JOBS 2

static void tick(void *arg) {
    struct err err;
    if (!run_job(arg, &err))
        fprintf(stderr, "predecessor: a job failed and will run again in the next interval: %s\n", err.text);
}

/* --- the program --- */

static void usage(void) {
    fputs("usage: predecessor --listen HOST:PORT --postgres URL --redis HOST:PORT [--interval-ms N]\n", stderr);
    exit(2);
}

static void read_arguments(int argc, char **argv) {
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"postgres", required_argument, NULL, 'p'},
                                            {"redis", required_argument, NULL, 'r'},
                                            {"interval-ms", required_argument, NULL, 'i'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *colon;
        switch (option) {
        case 'l':
            settings.listen = optarg;
            break;
        case 'p':
            settings.postgres = optarg;
            break;
        case 'r':
            if (!(colon = strrchr(optarg, ':')))
                usage();
            *colon = 0;
            settings.redis_host = optarg;
            settings.redis_port = (int)strtol(colon + 1, NULL, 10);
            break;
        case 'i':
            settings.interval_ms = strtoll(optarg, NULL, 10);
            break;
        default:
            usage();
        }
    }
    if (optind < argc || !settings.postgres || !settings.redis_port || settings.interval_ms < 1)
        usage();
}

/* Only the methods that the measurement calls; the others stay unimplemented. */
static void invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
                   void *closure_data) {
    const char *method = service->descriptor->methods[index].name;
    if (strcmp(method, "RequestPublish") == 0)
        request_publish((const Coupon__V1__RequestPublishRequest *)input, closure, closure_data);
    else if (strcmp(method, "GetCoupon") == 0)
        get_coupon((const Coupon__V1__GetCouponRequest *)input, closure, closure_data);
    else
        rpc_call_fail(rpc_call_of(closure_data), &(struct rpc_status){.code = RPC_UNIMPLEMENTED});
}

static void die(const struct err *err) {
    fprintf(stderr, "predecessor: %s\n", err->text);
    exit(1);
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    const struct pg_options postgres = {.url = settings.postgres,
                                        .application_name = "predecessor",
                                        .connect_timeout_s = 3,
                                        .statement_timeout_ms = PG_TIMEOUT_MS};
    queue = batch_queue_new(QUEUE_SIZE);
    reader = pg_new(&postgres);
    struct job jobs[JOBS] = {{issue, &select_open, pg_new(&postgres), NULL},
                             {finish, &select_used_up, pg_new(&postgres), NULL}};

    ProtobufCService coupons = {.descriptor = &coupon__v1__coupon_service__descriptor, .invoke = invoke};
    ProtobufCService admin = {.descriptor = &coupon__v1__coupon_admin_service__descriptor, .invoke = invoke};
    const struct rpc_server_options options = {.listen = settings.listen,
                                               .pollers = 1,
                                               .max_message_bytes = 65536,
                                               .max_concurrent_streams = 10000,
                                               .max_metadata_bytes = 16384,
                                               .descriptor_set = descriptor_set,
                                               .descriptor_set_size = descriptor_set_size};
    struct rpc_server *server;
    struct err err;
    pthread_t asker;
    if (!rpc_server_new(&options, &server, &err) ||
        !rpc_server_add(server, &coupons, coupon_services[COUPON_SERVICE].methods,
                        coupon_services[COUPON_SERVICE].n_methods, &err) ||
        !rpc_server_add(server, &admin, coupon_services[COUPON_ADMIN_SERVICE].methods,
                        coupon_services[COUPON_ADMIN_SERVICE].n_methods, &err) ||
        !rpc_server_start(server, &err))
        die(&err);
    if (pthread_create(&asker, NULL, ask, NULL) != 0)
        abort(); /* without threads there is nothing to measure */
    struct ticker *tickers[JOBS];
    for (int i = 0; i < JOBS; i++)
        if (!ticker_start("job", settings.interval_ms * US_PER_MS, tick, &jobs[i], &tickers[i], &err))
            die(&err);
    printf("ready %s\n", rpc_server_address(server));
    fflush(stdout);

    int signal_number;
    sigwait(&signals, &signal_number);
    rpc_server_stop(server, 1000, NULL);
    batch_queue_close(queue);
    pthread_join(asker, NULL);
    for (int i = 0; i < JOBS; i++) {
        ticker_stop(tickers[i]);
        redis_drop(&jobs[i].redis);
        pg_free(jobs[i].pg);
    }
    pg_free(reader);
    rpc_server_free(server);
    batch_queue_free(queue);
    return 0;
}
