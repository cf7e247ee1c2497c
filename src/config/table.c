/* The settings: one table. A default is written as a user would write it and goes through the same parser, so it obeys
 * its own range. */
#include "config/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "config/config.h"

#define AT(field)         offsetof(struct config, field)
#define POSTGRES_URL_HERE "host=127.0.0.1 port=5432 dbname=couponsd user=couponsd"

const struct setting settings[] = {
    {"grpc.listen", TYPE_LISTEN, "", 0, 0, "127.0.0.1:50051", "where gRPC is served; port 0 picks a free one",
     AT(grpc_listen)},
    {"grpc.pollers", TYPE_INT, "", 1, 64, "1", "threads that serve gRPC calls", AT(grpc_pollers)},
    {"grpc.max_message_bytes", TYPE_INT, "bytes", 1024, 16777216, "65536", "the largest request taken",
     AT(grpc_max_message_bytes)},
    {"grpc.max_concurrent_streams", TYPE_INT, "", 1, 1000000, "10000", "calls at a time on one connection",
     AT(grpc_max_concurrent_streams)},
    {"grpc.max_metadata_bytes", TYPE_INT, "bytes", 1024, 1048576, "16384", "the largest metadata of a call",
     AT(grpc_max_metadata_bytes)},
    {"grpc.max_connection_age_ms", TYPE_INT, "ms", 0, 86400000, "0",
     "after this long a client is asked to connect anew; 0: never", AT(grpc_max_connection_age_ms)},
    {"grpc.max_connections", TYPE_INT, "", 0, 1000000, "16384",
     "connections at a time, about; more are closed at once; 0: as many as files allow", AT(grpc_max_connections)},
    {"grpc.max_in_flight", TYPE_INT, "", 0, 10000000, "200000",
     "calls at a time, watchers too; more are refused as OVERLOADED; 0: no limit", AT(grpc_max_in_flight)},
    {"grpc.caller_requests_per_s", TYPE_INT, "1/s", 0, 10000000, "0",
     "calls that one caller (token, certificate, else address) may begin; 0: no limit", AT(grpc_caller_requests_per_s)},
    {"grpc.caller_in_flight", TYPE_INT, "", 0, 10000000, "0",
     "calls that one caller may have at a time, watchers too; 0: no limit", AT(grpc_caller_in_flight)},
    {"grpc.tls_certificate", TYPE_PATH, "", 0, 4096, "",
     "file with the server's certificate chain in PEM; empty: no TLS", AT(grpc_tls_certificate)},
    {"grpc.tls_key", TYPE_PATH, "", 0, 4096, "", "file with its private key in PEM", AT(grpc_tls_key)},
    {"grpc.tls_client_ca", TYPE_PATH, "", 0, 4096, "",
     "file with the authorities of clients' certificates, which are then asked for", AT(grpc_tls_client_ca)},
    {"grpc.tls_client_optional", TYPE_BOOL, "", 0, 0, "false",
     "clients without a certificate may connect too, and show a token", AT(grpc_tls_client_optional)},
    {"grpc.plaintext_anywhere", TYPE_BOOL, "", 0, 0, "false", "serve without TLS on addresses that are not loopback",
     AT(grpc_plaintext_anywhere)},
    {"access.callers", TYPE_TEXT, "", 0, 4096, "",
     "names in client certificates (DNS, URI) that may request coupons, separated by commas", AT(access_callers)},
    {"access.admins", TYPE_TEXT, "", 0, 4096, "", "those that may administer", AT(access_admins)},
    {"access.observers", TYPE_TEXT, "", 0, 4096, "", "those that may look at everything", AT(access_observers)},
    {"access.tokens", TYPE_PATH, "", 0, 4096, "", "file of bearer tokens, a line each: ROLES SHA256 [user=ID]",
     AT(access_tokens)},
    {"http.listen", TYPE_LISTEN, "", 0, 0, "127.0.0.1:9464", "where /metrics, /healthz and /readyz are served",
     AT(http_listen)},
    {"postgres.url", TYPE_TEXT, "", 1, 4096, POSTGRES_URL_HERE, "the database, as a libpq connection string or URI",
     AT(postgres_url)},
    {"postgres.connect_timeout_s", TYPE_INT, "s", 1, 60, "3", "how long connecting may take",
     AT(postgres_connect_timeout_s)},
    {"postgres.statement_timeout_ms", TYPE_INT, "ms", 100, 600000, "10000", "how long one statement may take",
     AT(postgres_statement_timeout_ms)},
    {"redis.url", TYPE_REDIS_URL, "", 0, 0, "redis://127.0.0.1:6379/0", "where the availability flags are",
     AT(redis_url)},
    {"redis.username", TYPE_TEXT, "", 0, 255, "", "instead of the user in redis.url", AT(redis_username)},
    {"redis.password", TYPE_TEXT, "", 0, 255, "", "instead of the password in redis.url", AT(redis_password)},
    {"redis.timeout_ms", TYPE_INT, "ms", 10, 10000, "250", "how long connecting, and one command, may take",
     AT(redis_timeout_ms)},
    {"kafka.brokers", TYPE_TEXT, "", 1, 4096, "127.0.0.1:9092",
     "the brokers to start from, HOST:PORT, separated by commas", AT(kafka_brokers)},
    {"kafka.partitions", TYPE_INT, "", 1, 1000, "8",
     "partitions of the topics when they are created; couponctl topics migrate changes them", AT(kafka_partitions)},
    {"kafka.replication_factor", TYPE_INT, "", 1, 9, "1", "replicas of a topic that is created",
     AT(kafka_replication_factor)},
    {"kafka.topic_prefix", TYPE_TOPIC_PREFIX, "", 0, 100, "", "put before the name of each topic and consumer group",
     AT(kafka_topic_prefix)},
    {"kafka.topic_strategy", TYPE_TOPIC_STRATEGY, "", 0, 0, "key",
     "key: coupons share a topic, keyed by their id; per_coupon: each has its own topic, no keys",
     AT(kafka_topic_strategy)},
    {"kafka.coupon_partitions", TYPE_INT, "", 1, 1000, "8", "partitions of a coupon's own topic when it is created",
     AT(kafka_coupon_partitions)},
    {"flow.lanes", TYPE_INT, "", 1, 256, "8", "lanes of a new database; fixed by whoever starts on it first",
     AT(flow_lanes)},
    {"flow.queue_size", TYPE_INT, "items", 16, 1048576, "16384",
     "what each stage lets wait; beyond it a request is refused as OVERLOADED", AT(flow_queue_size)},
    {"flow.patience_ms", TYPE_INT, "ms", 0, 60000, "100",
     "what would wait longer for a stage is refused as OVERLOADED; 0: no limit", AT(flow_patience_ms)},
    {"gate.batch_max", TYPE_INT, "items", 1, 65536, "2048", "requests looked up in Redis at once", AT(gate_batch_max)},
    {"gate.cache_ms", TYPE_INT, "ms", 0, 200, "100", "how long an instance trusts a flag it has read",
     AT(gate_cache_ms)},
    {"gate.winners_max", TYPE_INT, "users", 0, 100000000, "2000000",
     "winners kept in memory (8 bytes each), so that the others are refused without SQL", AT(gate_winners_max)},
    {"admit.workers", TYPE_INT, "", 1, 32, "1", "admitting threads, each with a connection to Postgres",
     AT(admit_workers)},
    {"admit.batch_max", TYPE_INT, "items", 1, 10000, "2000", "requests admitted in one transaction",
     AT(admit_batch_max)},
    {"admit.retry_ms", TYPE_INT, "ms", 0, 60000, "3000", "how long a batch interrupted by a lost connection is retried",
     AT(admit_retry_ms)},
    {"status.batch_max", TYPE_INT, "items", 1, 10000, "2000", "states looked up at once", AT(status_batch_max)},
    {"watch.poll_ms", TYPE_INT, "ms", 10, 10000, "100", "how often watched requests are looked up", AT(watch_poll_ms)},
    {"watch.max", TYPE_INT, "", 1, 1000000, "10000", "watches open at a time", AT(watch_max)},
    {"relay.run", TYPE_BOOL, "", 0, 0, "true", "whether this process relays; if not, others have to", AT(relay_run)},
    {"relay.batch_max", TYPE_INT, "rows", 1, 1000, "64",
     "outbox rows of a lane read at once; a row holds up to about 100 events", AT(relay_batch_max)},
    {"relay.in_flight_max", TYPE_INT, "events", 1, 1000000, "20000", "events handed to Kafka and not yet acknowledged",
     AT(relay_in_flight_max)},
    {"relay.poll_ms", TYPE_INT, "ms", 1, 10000, "20", "how often rows of other instances are looked for",
     AT(relay_poll_ms)},
    {"outbox.rotate_ms", TYPE_INT, "ms", 100, 3600000, "10000", "how often relayed segments of the outbox are dropped",
     AT(outbox_rotate_ms)},
    {"issue.run", TYPE_BOOL, "", 0, 0, "true", "whether this process issues; if not, others have to", AT(issue_run)},
    {"issue.workers", TYPE_INT, "", 1, 32, "1", "issuing threads, each with a consumer and a connection to Postgres",
     AT(issue_workers)},
    {"issue.batch_max", TYPE_INT, "events", 1, 10000, "2000", "events issued in one transaction", AT(issue_batch_max)},
    {"issue.dead_letters_max", TYPE_INT, "events", 1, 1000000000, "1000000",
     "dead letters kept; beyond that the oldest are dropped", AT(issue_dead_letters_max)},
    {"complete.run", TYPE_BOOL, "", 0, 0, "true", "whether this process completes; if not, others have to",
     AT(complete_run)},
    {"complete.batch_max", TYPE_INT, "events", 1, 10000, "2000", "events completed at once", AT(complete_batch_max)},
    {"reconcile.interval_ms", TYPE_INT, "ms", 100, 3600000, "1000", "how often flags and invariants are checked",
     AT(reconcile_interval_ms)},
    {"reconcile.stale_ms", TYPE_INT, "ms", 1000, 86400000, "30000",
     "an accepted request unissued for longer raises an alarm", AT(reconcile_stale_ms)},
    {"server.startup_wait_ms", TYPE_INT, "ms", 0, 600000, "30000", "how long servers may be unreachable at the start",
     AT(server_startup_wait_ms)},
    {"server.drain_ms", TYPE_INT, "ms", 0, 600000, "10000", "how long work in flight may take to finish when stopping",
     AT(server_drain_ms)},
    {"log.level", TYPE_LOG_LEVEL, "", 0, 0, "info", "what is logged: this level and above", AT(log_level)},
};
const size_t n_settings = sizeof settings / sizeof settings[0];

const char *setting_expectation(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]) {
    switch (setting->type) {
    case TYPE_INT:
        snprintf(text, SETTING_EXPECTATION_SIZE, "%" PRId64 " to %" PRId64 "%s%s", setting->min, setting->max,
                 setting->unit[0] ? " " : "", setting->unit);
        break;
    case TYPE_BOOL:
        snprintf(text, SETTING_EXPECTATION_SIZE, "true or false");
        break;
    case TYPE_PATH:
        snprintf(text, SETTING_EXPECTATION_SIZE, "a file's path, or nothing");
        break;
    case TYPE_TEXT:
        snprintf(text, SETTING_EXPECTATION_SIZE, "text of %" PRId64 " to %" PRId64 " bytes", setting->min,
                 setting->max);
        break;
    case TYPE_LISTEN:
        snprintf(text, SETTING_EXPECTATION_SIZE, "HOST:PORT (IPv6 in brackets)");
        break;
    case TYPE_REDIS_URL:
        snprintf(text, SETTING_EXPECTATION_SIZE, "redis://[[USER]:PW@]HOST[:PORT][/DB]");
        break;
    case TYPE_TOPIC_PREFIX:
        snprintf(text, SETTING_EXPECTATION_SIZE, "up to %" PRId64 " of a-z A-Z 0-9 . _ -", setting->max);
        break;
    case TYPE_TOPIC_STRATEGY:
        snprintf(text, SETTING_EXPECTATION_SIZE, "key or per_coupon");
        break;
    case TYPE_LOG_LEVEL:
        snprintf(text, SETTING_EXPECTATION_SIZE, "debug, info, warn or error");
        break;
    }
    return text;
}
