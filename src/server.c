/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/access.h"
#include "api/answer.h"
#include "api/early_refusal.h"
#include "api/rpc_metrics.h"
#include "api/rpc_trace.h"
#include "api/services.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "console/console.h"
#include "descriptor_set.h"
#include "flow/admit.h"
#include "flow/backends.h"
#include "flow/complete.h"
#include "flow/context.h"
#include "flow/counters.h"
#include "flow/gate.h"
#include "flow/gate/coupon_memory.h"
#include "flow/gate/ticket_holders.h"
#include "flow/issue.h"
#include "flow/read/holdings.h"
#include "flow/read/status.h"
#include "flow/read/watch.h"
#include "flow/relay.h"
#include "flow/topics/keeper.h"
#include "flow/topics/prepare.h"
#include "flow/tracing.h"
#include "flow/upkeep/readiness.h"
#include "flow/upkeep/reconcile.h"
#include "http/http.h"
#include "rpc/server.h"
#include "store/flags.h"
#include "store/pooler.h"
#include "store/schema.h"

#define RETRY_US (200 * US_PER_MS)
/* A process that is stopped between two steps of a migration must not keep others from starting. */
#define MIGRATE_IDLE_MS 4000
/* syslog's numbers. <syslog.h> defines names that clash with ours. */
#define KAFKA_LOG_ERROR 3

struct server {
    struct context context; /* what stages share is in here */
    struct complete *complete;
    struct issue *issue;
    struct reconcile *reconcile;
    struct topics_keeper *keeper;
    struct readiness *readiness;
    ProtobufCService *services[COUPON_SERVICES]; /* as in api_services */
    struct access *access;
    struct early_refusal early_refusal;
    struct rpc_trace_options trace_options;
    struct rpc_server *rpc;
    struct rpc_health *health;
    struct http_server *http;
    _Atomic(struct console *) console; /* NULL: it has not started, or http.console is off */
    atomic_bool serving;
};

static void on_kafka_log(int level, const char *text) {
    if (level <= KAFKA_LOG_ERROR)
        log_warn("kafka.client", LOG_STR("text", text));
    else
        log_debug("kafka.client", LOG_STR("text", text));
}

static struct kafka_options kafka_options_of(const struct config *config) {
    return (struct kafka_options){
        .brokers = config->kafka_brokers,
        .topic_prefix = config->kafka_topic_prefix,
        .replication_factor = (int)config->kafka_replication_factor,
        .has_coupon_topics = config->kafka_topic_strategy == TOPIC_STRATEGY_PER_COUPON,
        .in_flight_max = (int)config->relay_in_flight_max,
        .properties = config->kafka_properties,
        .n_properties = config->n_kafka_properties,
        .files = config->files,
        .n_files = config->n_files,
        .on_log = on_kafka_log,
    };
}

static bool check_together(const struct config *config, struct err *err) {
    const struct kafka_options options = kafka_options_of(config);
    return kafka_check_options(&options, err) && tracing_check(config, err);
}

const struct config_checks server_config_checks = {
    .postgres_url = pg_check_url, .kafka_property = kafka_check_property, .together = check_together};

static void init_context(struct context *context, const struct config *config) {
    context->config = config;
    context->hot = (struct pg_options){
        .url = config->postgres_url,
        .url_file = config_file_of(config, "postgres.url"),
        .first_host = &context->first_postgres_host,
        .application_name = "couponsd",
        .connect_timeout_s = (int)config->postgres_connect_timeout_s,
        .statement_timeout_ms = (int)config->postgres_statement_timeout_ms,
        .hot = true,
    };
    context->cold = context->hot;
    context->cold.hot = false;
    context->redis = (struct redis_options){
        .url = config->redis_url,
        .timeout_ms = config->redis_timeout_ms,
        .tls = {.ca = config->redis_tls_ca,
                .certificate = config->redis_tls_certificate,
                .key = config->redis_tls_key,
                .name = config->redis_tls_name},
        .login = {.url_file = config->redis_password[0] ? NULL : config_file_of(config, "redis.url"),
                  .user_file = config_file_of(config, "redis.username"),
                  .password_file = config_file_of(config, "redis.password")},
        .sentinel_user = config->redis_sentinel_username,
        .sentinel_password = config->redis_sentinel_password,
        .sentinel_login = {.user_file = config_file_of(config, "redis.sentinel_username"),
                           .password_file = config_file_of(config, "redis.sentinel_password")},
    };
    context->kafka = kafka_options_of(config);
}

/* --- start --- */

static bool migrate(struct server *server, struct err *err) {
    struct pg_options options = server->context.cold;
    options.idle_timeout_ms = MIGRATE_IDLE_MS;
    if (!pooler_check(&options, err))
        return false;
    struct pg *pg = pg_new(&options);
    bool ok = pg_connect(pg, err) && schema_migrate(pg, err) &&
              schema_fix_lanes(pg, (int)server->context.config->flow_lanes, err);
    pg_free(pg);
    return ok;
}

/* Runs a step of the start, and repeats it while Postgres fails: it is the truth, so without it there is nothing to
 * serve. */
static bool wait_for_postgres(struct server *server, bool (*step)(struct server *server, struct err *err),
                              bool (*stop_is_asked)(void), struct err *err) {
    int64_t give_up_us = clock_mono_us() + server->context.config->server_startup_wait_ms * US_PER_MS;
    bool told = false;
    while (!step(server, err)) {
        if (!err->retriable || err->backend != BACKEND_POSTGRES || clock_mono_us() >= give_up_us || stop_is_asked())
            return false;
        if (!told)
            log_warn("start.waiting", LOG_STR("backend", "postgres"), LOG_ERR(err),
                     LOG_INT("for_up_to_ms", server->context.config->server_startup_wait_ms));
        told = true;
        clock_sleep_us(RETRY_US);
    }
    return true;
}

/* Redis and Kafka may be unavailable: requests are accepted without them. An error that waiting cannot cure ends the
 * start. */
static bool check_redis(struct server *server, struct err *err) {
    struct context *context = &server->context;
    struct flags *flags;
    struct err problem;
    if (!flags_new(&context->redis, &flags, err))
        return false;
    context->redis.connects_at_once = flags_connect(flags, &problem);
    if (!context->redis.connects_at_once)
        log_warn("start.without", LOG_STR("backend", "redis"), LOG_ERR(&problem),
                 LOG_STR("meanwhile", "Postgres answers instead"));
    flags_free(flags);
    return true;
}

static bool prepare_topics(struct server *server, struct err *err) {
    struct err problem;
    if (topics_prepare(&server->context, &problem))
        return true;
    /* Kafka may have too few brokers at present, or give couponsd its rights later. */
    if (problem.backend != BACKEND_KAFKA || problem.code == ERR_INVALID) {
        *err = problem;
        return false;
    }
    log_warn("start.without", LOG_STR("backend", "kafka"), LOG_ERR(&problem),
             LOG_STR("meanwhile", "requests are accepted and wait in the outbox"));
    return true;
}

/* In the reverse of the order in which data flows: a stage that starts finds everything that it hands work to. */
static bool start_stages(struct server *server, struct err *err) {
    struct context *context = &server->context;
    const struct config *config = context->config;
    context->coupon_memory = coupon_memory_new(config->gate_cache_ms);
    if (!ticket_holders_start(context, &context->ticket_holders, err) || !watch_start(context, &context->watch, err) ||
        !status_start(context, &context->status, err) || !holdings_start(context, &context->holdings, err))
        return false;
    if (config->complete_run && !complete_start(context, &server->complete, err))
        return false;
    for (int stream = 0; stream < STREAMS && config->relay_run; stream++)
        if (!relay_start(context, (enum stream)stream, &context->relays[stream], err))
            return false;
    if (config->issue_run && !issue_start(context, &server->issue, err))
        return false;
    return admit_start(context, &context->admit, err) && gate_start(context, &context->gate, err) &&
           reconcile_start(context, &server->reconcile, err) && topics_keeper_start(context, &server->keeper, err);
}

static bool start_services(struct server *server, struct err *err) {
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        if (!api_services[i].start(&server->context, &server->services[i], err))
            return false;
    return true;
}

static void on_tls_reload(void *arg, const struct err *err) {
    const struct server *server = arg;
    if (err)
        log_error("tls.reload_failed", LOG_ERR(err), LOG_STR("meanwhile", "the old certificate stays in use"));
    else
        log_info("tls.reloaded", LOG_STR("certificate", server->context.config->grpc_tls_certificate));
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
    for (size_t i = 0; i < COUPON_SERVICES; i++) {
        const struct coupon_service_methods *methods = api_services[i].methods;
        if (!rpc_server_add(server->rpc, server->services[i], methods->methods, methods->n_methods, err))
            return false;
    }
    server->health = rpc_health_add(server->rpc, err);
    return server->health && rpc_reflection_add(server->rpc, err);
}

static bool start_rpc(struct server *server, struct err *err) {
    const struct config *config = server->context.config;
    const struct rpc_tls tls = {
        .certificate = config->grpc_tls_certificate,
        .key = config->grpc_tls_key,
        .ca = config->grpc_tls_client_ca[0] ? config->grpc_tls_client_ca : NULL,
        .client_may_be_unknown = config->grpc_tls_client_optional,
    };
    if (!access_new(config, &server->access, err))
        return false;
    struct tracer *tracer = server->context.tracer;
    server->early_refusal = (struct early_refusal){server->access, server->context.gate, tracer};
    server->trace_options = (struct rpc_trace_options){tracer, access_allow, server->access};
    const struct rpc_server_options options = {
        .listen = config->grpc_listen,
        .pollers = (int)config->grpc_pollers,
        .max_message_bytes = (size_t)config->grpc_max_message_bytes,
        .max_concurrent_streams = (int)config->grpc_max_concurrent_streams,
        .max_metadata_bytes = (size_t)config->grpc_max_metadata_bytes,
        .max_connection_age_ms = config->grpc_max_connection_age_ms,
        .keepalive_ms = config->grpc_keepalive_ms,
        .max_connections = (int)config->grpc_max_connections,
        .max_address_waiting = config->grpc_max_address_waiting > 0 ? (int)config->grpc_max_address_waiting : -1,
        .max_in_flight = config->grpc_max_in_flight,
        .caller_limits = {.per_second = (double)config->grpc_caller_requests_per_s,
                          .in_flight = config->grpc_caller_in_flight},
        .tls = config->grpc_tls_certificate[0] ? &tls : NULL,
        .on_tls_reload = on_tls_reload,
        .on_tls_reload_arg = server,
        .on_overload = on_overload,
        .on_stopping = on_stopping,
        .allow = tracer ? rpc_trace_allow : access_allow,
        .allow_arg = tracer ? (void *)&server->trace_options : server->access,
        .early = early_refusal_options(&server->early_refusal),
        .descriptor_set = descriptor_set,
        .descriptor_set_size = descriptor_set_size,
        .on_call_end = rpc_metrics_on_call_end,
        .on_bad_fields = answer_on_bad_fields,
    };
    return rpc_server_new(&options, &server->rpc, err) && add_services(server, err) &&
           rpc_server_start(server->rpc, err);
}

static void set_serving(struct server *server, bool serving) {
    atomic_store(&server->serving, serving);
    if (!server->health)
        return;
    rpc_health_set(server->health, "", serving);
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        rpc_health_set(server->health, api_services[i].methods->descriptor->name, serving);
}

static bool is_ready(void *arg, char text[static HTTP_READY_SIZE]) {
    const struct server *server = arg;
    if (!atomic_load(&server->serving)) {
        snprintf(text, HTTP_READY_SIZE, "starting or stopping");
        return false;
    }
    char problem[TOPICS_KEEPER_TEXT_SIZE];
    bool is_ready = readiness_tell(server->readiness, text);
    if (is_ready && !topics_keeper_tell(server->keeper, problem)) {
        size_t len = strlen(text);
        snprintf(text + len, HTTP_READY_SIZE - len, "; but kafka: %s", problem);
    }
    return is_ready;
}

/* Of console_options. */
static bool has_failed(void *arg, enum backend backend, char text[static HTTP_READY_SIZE]) {
    const struct server *server = arg;
    char ready[HTTP_READY_SIZE], problem[TOPICS_KEEPER_TEXT_SIZE];
    if (backend == BACKEND_POSTGRES && !readiness_tell(server->readiness, ready))
        snprintf(text, HTTP_READY_SIZE, "%s", ready);
    else if (backend == BACKEND_KAFKA && !topics_keeper_tell(server->keeper, problem))
        snprintf(text, HTTP_READY_SIZE, "%s", problem);
    else
        return false;
    return true;
}

/* The `handle` of http_options. */
static bool handle_http(void *arg, struct http_request *request) {
    struct server *server = arg;
    return server->context.config->http_console && console_handle(atomic_load(&server->console), request);
}

static bool start_http(struct server *server, struct err *err) {
    const struct config *config = server->context.config;
    return http_server_new(
        &(struct http_options){
            .listen = config->http_listen,
            .tls_certificate = config->http_tls_certificate[0] ? config->http_tls_certificate : NULL,
            .tls_key = config->http_tls_key[0] ? config->http_tls_key : NULL,
            .arg = server,
            .is_ready = is_ready,
            .handle = handle_http,
        },
        &server->http, err);
}

static bool start_console(struct server *server, struct err *err) {
    struct console *console;
    if (!server->context.config->http_console)
        return true;
    const struct console_options options = {
        .context = &server->context,
        .access = server->access,
        .rpc = server->rpc,
        .grpc_address = rpc_server_address(server->rpc),
        .http_address = http_server_address(server->http),
        .arg = server,
        .is_ready = is_ready,
        .has_failed = has_failed,
    };
    if (!console_start(&options, &console, err))
        return false;
    atomic_store(&server->console, console);
    return true;
}

static void warn_of_build(void) {
    const char *missing = rpc_missing_edge(), *untested = rpc_untested_core(), *unchecked = rpc_untested_edge();
    if (missing)
        log_warn("start.without_edge", LOG_STR("missing", missing));
    if (unchecked)
        log_warn("start.unchecked_edge", LOG_STR("reason", unchecked));
    if (untested)
        log_warn("start.untested_grpc", LOG_STR("core_version", rpc_core_version()), LOG_STR("reason", untested));
}

bool server_start(const struct config *config, bool (*stop_is_asked)(void), struct server **ret_server,
                  struct err *err) {
    struct server *server = memory_new(1, sizeof *server);
    init_context(&server->context, config);
    counters_register();
    backends_register();
    rpc_metrics_register();
    /* HTTP comes first, so that /healthz answers while Postgres is waited for or migrated. */
    if (!start_http(server, err) || !wait_for_postgres(server, migrate, stop_is_asked, err) ||
        !check_redis(server, err) || !kafka_admin_new(&server->context.kafka, &server->context.kafka_admin, err) ||
        !wait_for_postgres(server, prepare_topics, stop_is_asked, err) || !tracing_start(&server->context, err) ||
        !start_stages(server, err) || !start_services(server, err) || !start_rpc(server, err) ||
        !readiness_start(&server->context, &server->readiness, err) || !start_console(server, err)) {
        server_stop(server, NULL);
        return false;
    }
    warn_of_build();
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

/* The order of the stop, with reasons: a part stops before the parts that it uses. Parts that were not started are
 * NULL, which every function here accepts. */
void server_stop(struct server *server, const atomic_bool *hurry) {
    if (!server)
        return;
    struct context *context = &server->context;
    set_serving(server, false); /* load balancers look elsewhere from now on */
    if (context->watch)
        watch_end_all(context->watch); /* or its streams would hold up the next line for the whole grace period */
    console_stop(server->console);     /* its calls and streams end; the page says that couponsd stops */
    if (server->rpc)
        rpc_server_stop(server->rpc, context->config->server_drain_ms, hurry); /* every call is answered after this */
    gate_stop(context->gate);                     /* first the requests that it has already accepted from calls */
    ticket_holders_stop(context->ticket_holders); /* only the gate asks it */
    admit_stop(context->admit);                   /* the gate has handed requests to it until now */
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        api_services[i].stop(server->services[i]); /* they use the relays, watch and kafka_admin */
    topics_keeper_stop(server->keeper);            /* it uses kafka_admin */
    holdings_stop(context->holdings);              /* its service has stopped */
    status_stop(context->status);                  /* gate and admit have handed requests to it until now */
    reconcile_stop(server->reconcile);             /* it wakes a relay */
    issue_stop(server->issue);                     /* it wakes a relay and watch */
    for (int stream = 0; stream < STREAMS; stream++)
        relay_stop(context->relays[stream]); /* what admit and issue have committed goes to Kafka */
    complete_stop(server->complete);         /* events that the relays sent last are read at the next start */
    kafka_admin_free(context->kafka_admin);  /* its last users were services, keeper and relays */
    watch_stop(context->watch);              /* issue and complete have woken it until now */
    console_join(server->console);           /* the HTTP server waits for its answers */
    http_server_free(server->http);          /* until now it has answered /metrics and /healthz */
    console_free(server->console);           /* the HTTP thread has asked it */
    rpc_metrics_watch(NULL);
    rpc_server_free(server->rpc);
    access_free(server->access);         /* the rpc server has asked it */
    tracer_free(server->context.tracer); /* every step and the rpc server have given it spans */
    coupon_memory_free(context->coupon_memory);
    readiness_stop(server->readiness); /* the HTTP thread has asked it, as it has the next */
    topics_keeper_free(server->keeper);
    free(server);
}
