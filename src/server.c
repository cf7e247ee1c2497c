#include "server.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/access.h"
#include "base/clock.h"
#include "base/log.h"
#include "api/methods.h"
#include "descriptor_set.h"
#include "api/coupon_admin_service.h"
#include "flow/admit.h"
#include "api/answer.h"
#include "flow/complete.h"
#include "api/dead_letter_service.h"
#include "flow/gate.h"
#include "flow/issue.h"
#include "flow/gate/coupon_memory.h"
#include "flow/reconcile.h"
#include "flow/relay.h"
#include "flow/request.h"
#include "flow/status.h"
#include "api/topic_admin_service.h"
#include "flow/counters.h"
#include "api/integrity_service.h"
#include "flow/watch.h"
#include "flow/gate/ticket_holders.h"
#include "http/http.h"
#include "rpc/server.h"
#include "api/rpc_metrics.h"
#include "store/coupons.h"
#include "store/flags.h"
#include "store/kafka.h"
#include "store/schema.h"

#define RETRY_US (200 * US_PER_MS)
/* Stopped between two steps, it must not keep others from starting. */
#define MIGRATE_IDLE_MS 4000
/* syslog's numbers, of which <syslog.h> would define names that ours clash with. */
#define KAFKA_LOG_ERROR 3

struct server {
    const struct config *config;
    struct pg_options hot, cold;
    struct kafka_options kafka;
    struct kafka_admin *kafka_admin;
    struct pg *ready_pg; /* the HTTP thread's own */
    struct known *known;
    struct winners *winners;
    struct watch *watch;
    struct status *status;
    struct relay *relays[STREAMS];
    struct admit *admit;
    struct gate *gate;
    struct admin *admin;
    struct topics *topics;
    struct dead_letter_admin *dead_letters;
    struct verify *verify;
    struct issue *issue;
    struct complete *complete;
    struct reconcile *reconcile;
    struct request_service *requests;
    struct access *access;
    struct rpc_server *rpc;
    struct rpc_health *health;
    struct http_server *http;
    atomic_bool serving;
};

static void on_kafka_log(int level, const char *text) {
    if (level <= KAFKA_LOG_ERROR)
        log_warn("kafka.client", LOG_STR("text", text));
    else
        log_debug("kafka.client", LOG_STR("text", text));
}

static void init_options(struct server *server) {
    const struct config *config = server->config;
    server->hot = (struct pg_options){
        .url = config->postgres_url,
        .application_name = "couponsd",
        .connect_timeout_s = (int)config->postgres_connect_timeout_s,
        .statement_timeout_ms = (int)config->postgres_statement_timeout_ms,
        .hot = true,
    };
    server->cold = server->hot;
    server->cold.hot = false;
    server->kafka = (struct kafka_options){
        .brokers = config->kafka_brokers,
        .topic_prefix = config->kafka_topic_prefix,
        .replication_factor = (int)config->kafka_replication_factor,
        .in_flight_max = (int)config->relay_in_flight_max,
        .properties = config->kafka_properties,
        .n_properties = config->n_kafka_properties,
        .on_log = on_kafka_log,
    };
}

/* --- start --- */

static bool migrate_once(struct server *server, struct err *err) {
    struct pg_options options = server->cold;
    options.idle_timeout_ms = MIGRATE_IDLE_MS;
    struct pg *pg = pg_new(&options);
    bool ok =
        pg_connect(pg, err) && schema_migrate(pg, err) && schema_fix_lanes(pg, (int)server->config->flow_lanes, err);
    pg_free(pg);
    return ok;
}

/* Postgres is the truth: without it there is nothing to serve. */
static bool migrate(struct server *server, struct err *err) {
    int64_t give_up_us = clock_mono_us() + server->config->server_startup_wait_ms * US_PER_MS;
    bool told = false;
    while (!migrate_once(server, err)) {
        if (!err->retriable || clock_mono_us() >= give_up_us)
            return false;
        if (!told)
            log_warn("start.waiting", LOG_STR("backend", "postgres"), LOG_ERR(err),
                     LOG_INT("for_up_to_ms", server->config->server_startup_wait_ms));
        told = true;
        clock_sleep_us(RETRY_US);
    }
    return true;
}

/* Kafka and Redis may be away: requests are accepted all the same. What no waiting mends is refused. */
static bool check_others(struct server *server, struct err *err) {
    const struct config *config = server->config;
    struct flags *flags;
    struct err problem;
    if (!flags_new(config->redis_url, config->redis_timeout_ms, &flags, err))
        return false;
    if (!flags_connect(flags, &problem))
        log_warn("start.without", LOG_STR("backend", "redis"), LOG_ERR(&problem),
                 LOG_STR("until_then", "Postgres answers instead"));
    flags_free(flags);
    if (!kafka_admin_new(&server->kafka, &server->kafka_admin, err))
        return false;
    if (topics_prepare(config, &server->cold, &server->kafka, server->kafka_admin, &problem))
        return true;
    if (!problem.retriable) {
        *err = problem;
        return false;
    }
    log_warn("start.without", LOG_STR("backend", "kafka"), LOG_ERR(&problem),
             LOG_STR("until_then", "requests are accepted and wait in the outbox"));
    return true;
}

static bool start_stages(struct server *server, struct err *err) {
    const struct config *config = server->config;
    server->known = known_new(config->gate_cache_ms);
    server->winners = winners_start(config, &server->hot);
    server->watch = watch_start(config, &server->hot);
    server->status = status_start(config, &server->hot);
    for (int stream = 0; stream < STREAMS && config->relay_run; stream++)
        server->relays[stream] =
            relay_start(config, &server->hot, &server->kafka, server->kafka_admin, (enum stream)stream);
    server->admit = admit_start(config, &server->hot, server->known, server->status, server->relays[STREAM_REQUESTED]);
    if (config->issue_run)
        server->issue =
            issue_start(config, &server->hot, &server->kafka, server->relays[STREAM_PUBLISHED], server->watch);
    server->gate = gate_start(config, &server->hot, server->known, server->winners, server->admit, server->status, err);
    if (!server->gate)
        return false;
    server->admin = admin_start(config, &server->cold, &server->kafka, server->kafka_admin, server->known, err);
    if (!server->admin)
        return false;
    server->topics = topics_start(config, &server->cold, &server->kafka, server->kafka_admin);
    server->dead_letters =
        dead_letter_admin_start(config, &server->cold, &server->kafka, server->relays[STREAM_REQUESTED]);
    server->verify = verify_start(config, &server->cold, &server->kafka, server->kafka_admin, err);
    if (!server->verify)
        return false;
    if (config->complete_run) {
        server->complete = complete_start(config, &server->hot, &server->kafka, server->known, server->watch, err);
        if (!server->complete)
            return false;
    }
    server->reconcile = reconcile_start(config, &server->cold, server->relays[STREAM_REQUESTED], err);
    return server->reconcile != NULL;
}

static void on_tls_reload(void *arg, const struct err *err) {
    const struct server *server = arg;
    if (err)
        log_error("tls.reload_failed", LOG_ERR(err), LOG_STR("until_mended", "the older certificate is used"));
    else
        log_info("tls.reloaded", LOG_STR("certificate", server->config->grpc_tls_certificate));
}

static void on_overload(void *arg, struct rpc_call *call) {
    (void)arg;
    answer_overloaded(call);
}

static void on_stopping(void *arg, struct rpc_call *call) {
    (void)arg;
    answer_stopping(call);
}

static bool add_services(struct server *server, struct err *err) {
    /* As coupon_services has them. */
    ProtobufCService *const bases[COUPON_SERVICES] = {
        request_service_base(server->requests), admin_service_base(server->admin),
        topics_service_base(server->topics),    dead_letter_admin_service_base(server->dead_letters),
        verify_service_base(server->verify),
    };
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        if (!rpc_server_add(server->rpc, bases[i], coupon_services[i].methods, coupon_services[i].n_methods, err))
            return false;
    return true;
}

static bool start_rpc(struct server *server, struct err *err) {
    const struct config *config = server->config;
    const struct rpc_tls tls = {
        .certificate = config->grpc_tls_certificate,
        .key = config->grpc_tls_key,
        .ca = config->grpc_tls_client_ca[0] ? config->grpc_tls_client_ca : NULL,
        .client_may_be_unknown = config->grpc_tls_client_optional,
    };
    struct rpc_server_options options = {
        .listen = config->grpc_listen,
        .pollers = (int)config->grpc_pollers,
        .max_message_bytes = (size_t)config->grpc_max_message_bytes,
        .max_concurrent_streams = (int)config->grpc_max_concurrent_streams,
        .max_metadata_bytes = (size_t)config->grpc_max_metadata_bytes,
        .max_connection_age_ms = config->grpc_max_connection_age_ms,
        .max_connections = (int)config->grpc_max_connections,
        .max_in_flight = config->grpc_max_in_flight,
        .caller_limits = {.per_second = (double)config->grpc_caller_requests_per_s,
                          .in_flight = config->grpc_caller_in_flight},
        .tls = config->grpc_tls_certificate[0] ? &tls : NULL,
        .on_tls_reload = on_tls_reload,
        .on_tls_reload_arg = server,
        .on_overload = on_overload,
        .on_stopping = on_stopping,
        .allow = access_allow,
        .descriptor_set = descriptor_set,
        .descriptor_set_size = descriptor_set_size,
        .on_call_end = rpc_metrics_on_call_end,
        .on_bad_fields = request_refuse_bad_fields,
    };
    server->requests = request_service_new(server->gate, server->status, server->watch);
    if (!access_new(config, &server->access, err))
        return false;
    options.allow_arg = server->access;
    return rpc_server_new(&options, &server->rpc, err) && add_services(server, err) &&
           (server->health = rpc_health_add(server->rpc, err)) != NULL && rpc_reflection_add(server->rpc, err) &&
           rpc_server_start(server->rpc, err);
}

static void set_serving(struct server *server, bool serving) {
    atomic_store(&server->serving, serving);
    if (!server->health)
        return;
    rpc_health_set(server->health, "", serving);
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        rpc_health_set(server->health, coupon_services[i].descriptor->name, serving);
}

static bool is_ready(void *arg, char why[static 200]) {
    struct server *server = arg;
    struct err err;
    int64_t now_us;
    if (!atomic_load(&server->serving)) {
        snprintf(why, 200, "starting or stopping");
        return false;
    }
    if (!pg_connect(server->ready_pg, &err) || !coupon_now(server->ready_pg, &now_us, &err)) {
        snprintf(why, 200, "postgres: %.180s", err.text);
        return false;
    }
    return true;
}

bool server_start(const struct config *config, struct server **ret_server, struct err *err) {
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        abort();
    server->config = config;
    init_options(server);
    totals_register();
    rpc_metrics_register();
    server->ready_pg = pg_new(&server->cold);
    if (!migrate(server, err) || !check_others(server, err) || !start_stages(server, err) || !start_rpc(server, err) ||
        !http_server_new(config->http_listen, is_ready, server, &server->http, err)) {
        server_stop(server, NULL);
        return false;
    }
    rpc_metrics_watch(server->rpc);
    set_serving(server, true);
    *ret_server = server;
    return true;
}

const char *server_grpc_address(const struct server *server) {
    return rpc_server_address(server->rpc);
}

const char *server_http_address(const struct server *server) {
    return http_server_address(server->http);
}

/* --- stop --- */

void server_stop(struct server *server, const volatile bool *hurry) {
    if (!server)
        return;
    set_serving(server, false);
    if (server->watch)
        watch_end_all(server->watch);
    if (server->rpc)
        rpc_server_stop(server->rpc, server->config->server_drain_ms, hurry);
    gate_stop(server->gate);
    winners_stop(server->winners);
    admit_stop(server->admit);
    admin_stop(server->admin);
    topics_stop(server->topics);
    dead_letter_admin_stop(server->dead_letters);
    verify_stop(server->verify);
    status_stop(server->status);
    reconcile_stop(server->reconcile);
    issue_stop(server->issue);
    for (int stream = 0; stream < STREAMS; stream++)
        relay_stop(server->relays[stream]);
    complete_stop(server->complete);
    kafka_admin_free(server->kafka_admin);
    watch_stop(server->watch);
    http_server_free(server->http);
    rpc_metrics_watch(NULL);
    rpc_server_free(server->rpc);
    request_service_free(server->requests);
    access_free(server->access);
    known_free(server->known);
    pg_free(server->ready_pg);
    free(server);
}
