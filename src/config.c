/* The settings: one table, and what reads, checks and explains it; see config.h.
 *
 * A default is written as a user would write it and goes through the same parser, so it obeys its own range. Refusals
 * never repeat the value of a setting that may hold a password. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "store/pg.h"

enum setting_type {
    TYPE_INT,          /* min to max, in `unit` */
    TYPE_TEXT,         /* min to max bytes long */
    TYPE_LISTEN,       /* HOST:PORT */
    TYPE_REDIS_URL,    /* redis://[[user]:password@][host[:port]][/db] */
    TYPE_TOPIC_PREFIX, /* what Kafka allows in a name; min to max bytes long */
    TYPE_TOPIC_STRATEGY,
    TYPE_LOG_LEVEL,
};

struct setting {
    const char *key;
    enum setting_type type;
    const char *unit; /* of TYPE_INT, "" for a plain number */
    int64_t min, max;
    const char *preset; /* the default */
    const char *text;
    size_t offset; /* in struct config */
};

#define AT(field)         offsetof(struct config, field)
#define POSTGRES_URL_HERE "host=127.0.0.1 port=5432 dbname=couponsd user=couponsd"

static const struct setting settings[] = {
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
    {"relay.batch_max", TYPE_INT, "rows", 1, 10000, "2000", "outbox rows read at once", AT(relay_batch_max)},
    {"relay.in_flight_max", TYPE_INT, "events", 1, 1000000, "20000", "events handed to Kafka and not yet acknowledged",
     AT(relay_in_flight_max)},
    {"relay.poll_ms", TYPE_INT, "ms", 1, 10000, "20", "how often rows of other instances are looked for",
     AT(relay_poll_ms)},
    {"outbox.rotate_ms", TYPE_INT, "ms", 100, 3600000, "10000", "how often relayed segments of the outbox are dropped",
     AT(outbox_rotate_ms)},
    {"issue.workers", TYPE_INT, "", 1, 32, "1", "issuing threads, each with a consumer and a connection to Postgres",
     AT(issue_workers)},
    {"issue.batch_max", TYPE_INT, "events", 1, 10000, "2000", "events issued in one transaction", AT(issue_batch_max)},
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
#define N_SETTINGS (sizeof settings / sizeof settings[0])

/* Where a setting is kept. */
static void *field_of(struct config *config, const struct setting *setting) {
    return (char *)config + setting->offset;
}

static bool is_string(const struct setting *setting) {
    return setting->type != TYPE_INT && setting->type != TYPE_LOG_LEVEL && setting->type != TYPE_TOPIC_STRATEGY;
}

/* "1 to 64", "10 to 10000 ms", "HOST:PORT, …": what would be right, also shown by --help. */
static const char *expectation(const struct setting *setting, char text[static 120]) {
    switch (setting->type) {
    case TYPE_INT:
        snprintf(text, 120, "%" PRId64 " to %" PRId64 "%s%s", setting->min, setting->max, setting->unit[0] ? " " : "",
                 setting->unit);
        break;
    case TYPE_TEXT:
        snprintf(text, 120, "text of %" PRId64 " to %" PRId64 " bytes", setting->min, setting->max);
        break;
    case TYPE_LISTEN:
        snprintf(text, 120, "HOST:PORT (IPv6 in brackets)");
        break;
    case TYPE_REDIS_URL:
        snprintf(text, 120, "redis://[[USER]:PW@]HOST[:PORT][/DB]");
        break;
    case TYPE_TOPIC_PREFIX:
        snprintf(text, 120, "up to %" PRId64 " of a-z A-Z 0-9 . _ -", setting->max);
        break;
    case TYPE_TOPIC_STRATEGY:
        snprintf(text, 120, "key or per_coupon");
        break;
    case TYPE_LOG_LEVEL:
        snprintf(text, 120, "debug, info, warn or error");
        break;
    }
    return text;
}

/* All of [at, end) is digits, and as a number no more than `max`. */
static bool is_number_up_to(const char *at, const char *end, long max) {
    if (at == end || end - at > 9)
        return false;
    long value = 0;
    for (; at < end; at++) {
        if (!isdigit((unsigned char)*at))
            return false;
        value = value * 10 + (*at - '0');
    }
    return value <= max;
}

static bool is_made_of(const char *at, const char *end, const char *more) {
    for (; at < end; at++) {
        if (!isalnum((unsigned char)*at) && !strchr(more, *at))
            return false;
    }
    return true;
}

/* The end of the host at `at`: a name, an IPv4 address, or an IPv6 address in brackets. NULL if it is none. */
static const char *end_of_host(const char *at) {
    if (*at == '[') {
        const char *close = strchr(at, ']');
        return close && close > at + 1 && is_made_of(at + 1, close, ":.%") ? close + 1 : NULL;
    }
    const char *end = at + strcspn(at, ":/");
    return end > at && is_made_of(at, end, ".-_") ? end : NULL;
}

static bool is_listen_address(const char *value) {
    const char *colon = end_of_host(value);
    return colon && *colon == ':' && is_number_up_to(colon + 1, colon + strlen(colon), 65535);
}

static bool is_redis_url(const char *value) {
    static const char scheme[] = "redis://";
    if (strncmp(value, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *at = value + sizeof scheme - 1;
    const char *authority_end = at + strcspn(at, "/"), *credentials_end = memchr(at, '@', (size_t)(authority_end - at));
    if (credentials_end) {
        /* Percent signs stand for what can't stand for itself; libc's ctype would take more than ASCII. */
        if (!memchr(at, ':', (size_t)(credentials_end - at)) || strcspn(at, " \t") < (size_t)(credentials_end - at))
            return false;
        at = credentials_end + 1;
    }
    if (*at && *at != '/') {
        at = end_of_host(at);
        if (!at)
            return false;
        if (*at == ':') {
            const char *end = at + strcspn(at, "/");
            if (!is_number_up_to(at + 1, end, 65535))
                return false;
            at = end;
        }
    }
    /* Redis itself knows how many databases it has; 9,999 is more than anyone configures. */
    return *at == '\0' || (*at == '/' && (at[1] == '\0' || is_number_up_to(at + 1, at + strlen(at), 9999)));
}

static bool is_valid_string(const struct setting *setting, const char *value) {
    int64_t len = (int64_t)strlen(value);
    switch (setting->type) {
    case TYPE_LISTEN:
        return is_listen_address(value);
    case TYPE_REDIS_URL:
        return is_redis_url(value);
    case TYPE_TOPIC_PREFIX:
        return len <= setting->max && is_made_of(value, value + len, "._-");
    default:
        return len >= setting->min && len <= setting->max;
    }
}

static bool refuse_value(const struct setting *setting, const char *value, const char *where, const char *what,
                         struct err *err) {
    char expected[120], shown[100] = "";
    if (setting->type != TYPE_TEXT && setting->type != TYPE_REDIS_URL)
        snprintf(shown, sizeof shown, " \"%.80s\"", value);
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %s:%s %s; expected %s", where, setting->key, shown, what,
                   expectation(setting, expected));
}

static bool assign_int(int64_t *ret, const struct setting *setting, const char *value, const char *where,
                       struct err *err) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    /* strtoll would take leading space and a plus sign. */
    if (end == value || *end != '\0' || (!isdigit((unsigned char)value[0]) && value[0] != '-'))
        return refuse_value(setting, value, where, "is not a whole number", err);
    if (errno == ERANGE || number < setting->min || number > setting->max)
        return refuse_value(setting, value, where, "is out of range", err);
    *ret = number;
    return true;
}

static char *copy_of(const char *text) {
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static bool assign(struct config *config, const struct setting *setting, const char *value, const char *where,
                   struct err *err) {
    void *field = field_of(config, setting);
    if (setting->type == TYPE_TOPIC_STRATEGY) {
        bool per_coupon = strcmp(value, "per_coupon") == 0;
        if (!per_coupon && strcmp(value, "key") != 0)
            return refuse_value(setting, value, where, "is not a strategy", err);
        *(enum topic_strategy *)field = per_coupon ? TOPIC_STRATEGY_PER_COUPON : TOPIC_STRATEGY_KEY;
        return true;
    }
    if (setting->type == TYPE_INT)
        return assign_int(field, setting, value, where, err);
    if (setting->type == TYPE_LOG_LEVEL) {
        if (!log_level_parse(value, field))
            return refuse_value(setting, value, where, "is not a level", err);
        return true;
    }
    if (!is_valid_string(setting, value))
        return refuse_value(setting, value, where, "is not valid", err);
    char *copy = copy_of(value);
    free(*(char **)field);
    *(char **)field = copy;
    return true;
}

/* Levenshtein distance; `b` is one of our keys, so it is short. */
static size_t distance(const char *a, const char *b) {
    size_t row[64];
    size_t len_b = strlen(b);
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t moved = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = moved < replaced ? moved : replaced;
        }
    }
    return row[len_b];
}

static bool refuse_key(const char *key, const char *where, struct err *err) {
    const struct setting *closest = &settings[0];
    for (size_t i = 1; i < N_SETTINGS; i++) {
        if (distance(key, settings[i].key) < distance(key, closest->key))
            closest = &settings[i];
    }
    /* Half of the key is wrong: that is no slip any more, but the closest still shows how keys look. */
    bool is_slip = distance(key, closest->key) <= strlen(closest->key) / 2;
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: there is no setting %.100s; %s %s", where, key,
                   is_slip ? "did you mean" : "--help lists all, the closest is", closest->key);
}

/* --- librdkafka's properties --- */

#define KAFKA_PREFIX "kafka."

static void keep_property(struct config *config, const char *name, const char *value) {
    struct kafka_property *property = config->kafka_properties, *end = property + config->n_kafka_properties;
    while (property < end && strcmp(property->name, name) != 0)
        property++;
    if (property < end) {
        free(property->value);
        property->value = copy_of(value);
        return;
    }
    size_t n = config->n_kafka_properties + 1;
    config->kafka_properties = realloc(config->kafka_properties, n * sizeof *config->kafka_properties);
    if (!config->kafka_properties)
        abort();
    config->kafka_properties[n - 1] = (struct kafka_property){copy_of(name), copy_of(value)};
    config->n_kafka_properties = n;
}

static bool set_property(struct config *config, const char *key, const char *value, const char *where,
                         struct err *err) {
    const char *name = key + sizeof KAFKA_PREFIX - 1;
    struct err problem, unknown;
    if (!kafka_check_property(name, value, &problem)) {
        refuse_key(key, where, &unknown);
        bool is_known = problem.code != ERR_NOT_FOUND;
        return is_known
                   ? err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %.100s: %s", where, key, problem.text)
                   : err_set(err, ERR_INVALID, BACKEND_NONE, "%s (nor does librdkafka have %.80s)", unknown.text, name);
    }
    keep_property(config, name, value);
    return true;
}

/* --- values from files --- */

#define FILE_PREFIX    "file:"
#define FILE_MAX_BYTES (64 * 1024)

/* The file's text, to be freed, or NULL. Its content is never told. */
static char *read_secret(const char *path, const char *key, const char *where, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file) {
        err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %s: %s can't be opened: %s", where, key, path, strerror(errno));
        return NULL;
    }
    char *text = calloc(1, FILE_MAX_BYTES + 1);
    if (!text)
        abort();
    size_t len = fread(text, 1, FILE_MAX_BYTES, file);
    const char *wrong = ferror(file)                  ? "can't be read"
                        : len == FILE_MAX_BYTES       ? "is longer than 64 KiB"
                        : strlen(text) != len         ? "has a NUL byte"
                        : strspn(text, "\r\n") == len ? "is empty"
                                                      : NULL;
    fclose(file);
    if (wrong) {
        err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %s: %s %s", where, key, path, wrong);
        free(text);
        return NULL;
    }
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = 0;
    return text;
}

static bool set_plain(struct config *config, const char *key, const char *value, const char *where, struct err *err) {
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (strcmp(settings[i].key, key) == 0)
            return assign(config, &settings[i], value, where, err);
    }
    if (strncmp(key, KAFKA_PREFIX, sizeof KAFKA_PREFIX - 1) == 0)
        return set_property(config, key, value, where, err);
    return refuse_key(key, where, err);
}

static bool set(struct config *config, const char *key, const char *value, const char *where, struct err *err) {
    if (strncmp(value, FILE_PREFIX, sizeof FILE_PREFIX - 1) != 0)
        return set_plain(config, key, value, where, err);
    char *text = read_secret(value + sizeof FILE_PREFIX - 1, key, where, err);
    bool ok = text && set_plain(config, key, text, where, err);
    free(text);
    return ok;
}

void config_init(struct config *config) {
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!assign(config, &settings[i], settings[i].preset, "default", NULL))
            abort(); /* the table contradicts itself */
    }
}

void config_deinit(struct config *config) {
    if (!config)
        return;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!is_string(&settings[i]))
            continue;
        char **field = field_of(config, &settings[i]);
        free(*field);
        *field = NULL;
    }
    for (size_t i = 0; i < config->n_kafka_properties; i++) {
        free(config->kafka_properties[i].name);
        free(config->kafka_properties[i].value);
    }
    free(config->kafka_properties);
    config->kafka_properties = NULL;
    config->n_kafka_properties = 0;
}

bool config_set(struct config *config, const char *assignment, struct err *err) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "--set: \"%.100s\" assigns nothing; expected key=value",
                       assignment);
    char *key = strndup(assignment, (size_t)(equals - assignment));
    if (!key)
        abort();
    bool ok = set(config, key, equals + 1, "--set", err);
    free(key);
    return ok;
}

/* Reading a file. inih has no line numbers in its handler, so its reader, which is ours, counts them: inih handles a
 * line before it asks for the next. */
struct ini_source {
    FILE *file;
    const char *path;
    struct config *config;
    struct err *err;
    char *line; /* of getline */
    size_t line_cap;
    int line_number; /* of the line that is being handled */
    bool failed;     /* *err is filled, the rest is not looked at */
};

/* inih as Debian builds it takes lines up to 200 bytes unless told otherwise in these; other builds have it as a
 * constant, hence weak. 4,096 bytes are a postgres.url with room for its key. */
#define LINE_MAX_BYTES 4200
extern bool ini_use_stack __attribute__((weak));
extern int ini_max_line __attribute__((weak));
extern int ini_initial_alloc __attribute__((weak));

static void allow_long_lines(void) {
    if (!&ini_use_stack || !&ini_max_line || !&ini_initial_alloc)
        return;
    ini_use_stack = false;
    ini_max_line = ini_initial_alloc = LINE_MAX_BYTES;
}

static char *fail_line(struct ini_source *source, const char *what) {
    source->failed = true;
    err_set(source->err, ERR_INVALID, BACKEND_NONE, "%s:%d: %s", source->path, source->line_number, what);
    return NULL;
}

/* inih's ini_reader: the next line, cut to what inih can't misunderstand. */
static char *read_line(char *out, int room, void *stream) {
    struct ini_source *source = stream;
    if (source->failed)
        return NULL;
    ssize_t read = getline(&source->line, &source->line_cap, source->file);
    if (read < 0)
        return NULL;
    source->line_number++;

    const char *line = source->line;
    size_t len = (size_t)read;
    if (strlen(line) != len)
        return fail_line(source, "this line has a NUL byte; expected a text file");
    /* inih would take an indented line for more of the value before it. */
    size_t indent = strspn(line, " \t");
    line += indent;
    len -= indent;
    if (len >= (size_t)room)
        return fail_line(source, "this line is too long; give the setting by --set");
    return memcpy(out, line, len + 1);
}

/* inih's ini_handler: 0 is an error. */
static int handle_setting(void *user, const char *section, const char *name, const char *value) {
    struct ini_source *source = user;
    if (source->failed)
        return 0;
    char where[300], key[120];
    snprintf(where, sizeof where, "%s:%d", source->path, source->line_number);
    snprintf(key, sizeof key, "%s%s%s", section, section[0] ? "." : "", name);
    source->failed = !set(source->config, key, value, where, source->err);
    return !source->failed;
}

bool config_read_file(struct config *config, const char *path, struct err *err) {
    struct ini_source source = {.path = path, .config = config, .err = err};
    source.file = fopen(path, "re");
    if (!source.file)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: can't be opened: %s", path, strerror(errno));

    allow_long_lines();
    int bad_line = ini_parse_stream(read_line, &source, handle_setting, &source);
    int read_errno = ferror(source.file) ? errno : 0;
    fclose(source.file);
    free(source.line);

    if (read_errno)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: can't be read: %s", path, strerror(read_errno));
    if (bad_line < 0)
        abort(); /* out of memory */
    /* inih tells the first bad line; when it is not the one that we refused, then inih could not parse it. */
    if (bad_line > 0 && !(source.failed && source.line_number == bad_line))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "%s:%d: this line is not understood; expected [section], key = value, or a comment (; or #)",
                       path, bad_line);
    return !source.failed;
}

/* --- the environment --- */

#define VARIABLE_PREFIX "COUPONSD_SET_"

/* The key that a variable's name stands for: a setting's, dots written as underscores, or else one of librdkafka's
 * properties, whose names have no underscores. */
static void key_of_variable(const char *name, size_t len, char ret_key[static 120]) {
    if (len > 119)
        len = 119;
    for (size_t i = 0; i < len; i++)
        ret_key[i] = (char)tolower((unsigned char)name[i]);
    ret_key[len] = 0;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        char plain[120];
        snprintf(plain, sizeof plain, "%s", settings[i].key);
        for (char *dot = plain; (dot = strchr(dot, '.')) != NULL;)
            *dot = '_';
        if (strcmp(plain, ret_key) == 0) {
            snprintf(ret_key, 120, "%s", settings[i].key);
            return;
        }
    }
    for (char *at = ret_key; (at = strchr(at, '_')) != NULL;)
        *at = '.';
}

bool config_read_environment(struct config *config, char *const *environment, struct err *err) {
    for (; *environment; environment++) {
        const char *name = *environment, *equals = strchr(name, '=');
        if (!equals || strncmp(name, VARIABLE_PREFIX, sizeof VARIABLE_PREFIX - 1) != 0)
            continue;
        char key[120], where[160];
        const char *rest = name + sizeof VARIABLE_PREFIX - 1;
        key_of_variable(rest, (size_t)(equals - rest), key);
        snprintf(where, sizeof where, "environment: %.*s", (int)(equals - name < 120 ? equals - name : 120), name);
        if (!set(config, key, equals + 1, where, err))
            return false;
    }
    return true;
}

/* --- all of it together --- */

/* Whatever could mean something in a URL is written as %XX. */
static size_t percent_encode(char *out, const char *text) {
    size_t len = 0;
    for (; *text; text++) {
        if (isalnum((unsigned char)*text))
            out[len++] = *text;
        else
            len += (size_t)sprintf(out + len, "%%%02X", (unsigned char)*text);
    }
    out[len] = 0;
    return len;
}

/* redis.username and redis.password take the place of what redis.url has. */
static bool add_redis_credentials(struct config *config, struct err *err) {
    static const char scheme[] = "redis://";
    if (!*config->redis_password) {
        if (*config->redis_username)
            return err_set(err, ERR_INVALID, BACKEND_NONE,
                           "redis.username is set without redis.password: set both, or have both in redis.url");
        return true;
    }
    const char *rest = config->redis_url + sizeof scheme - 1, *at = memchr(rest, '@', strcspn(rest, "/"));
    rest = at ? at + 1 : rest;
    char *url = malloc(sizeof scheme + 3 * strlen(config->redis_username) + 3 * strlen(config->redis_password) +
                       strlen(rest) + 3);
    if (!url)
        abort();
    size_t len = (size_t)sprintf(url, "%s", scheme);
    len += percent_encode(url + len, config->redis_username);
    url[len++] = ':';
    len += percent_encode(url + len, config->redis_password);
    sprintf(url + len, "@%s", rest);
    free(config->redis_url);
    config->redis_url = url;
    return true;
}

static bool check(const struct config *config, struct err *err) {
    struct err problem;
    if (!pg_check_url(config->postgres_url, &problem))
        return err_set(err, ERR_INVALID, BACKEND_NONE, "postgres.url: %s", problem.text);
    const struct {
        const char *key;
        int64_t batch_max;
    } batches[] = {
        {"gate.batch_max", config->gate_batch_max},
        {"admit.batch_max", config->admit_batch_max},
        {"status.batch_max", config->status_batch_max},
    };
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        if (batches[i].batch_max > config->flow_queue_size)
            return err_set(err, ERR_INVALID, BACKEND_NONE,
                           "%s (%" PRId64 ") is larger than flow.queue_size (%" PRId64
                           "), the queue it is taken from; lower the one or raise the other",
                           batches[i].key, batches[i].batch_max, config->flow_queue_size);
    }
    return true;
}

bool config_finish(struct config *config, struct err *err) {
    return check(config, err) && add_redis_credentials(config, err);
}

static void print_row(FILE *out, const struct setting *setting, const int widths[static 2]) {
    char range[120];
    const char *preset = setting->preset[0] ? setting->preset : "(empty)";
    fprintf(out, "  %-*s  %-*s  %s\n", widths[0], setting->key, widths[1], expectation(setting, range), preset);
    fprintf(out, "  %-*s  %s\n", widths[0], "", setting->text);
}

static void print_text(FILE *out) {
    int widths[2] = {0};
    for (size_t i = 0; i < N_SETTINGS; i++) {
        char range[120];
        int key_len = (int)strlen(settings[i].key);
        int range_len = (int)strlen(expectation(&settings[i], range));
        widths[0] = key_len > widths[0] ? key_len : widths[0];
        widths[1] = range_len > widths[1] ? range_len : widths[1];
    }
    fprintf(out, "  %-*s  %-*s  %s\n", widths[0], "SETTING", widths[1], "RANGE", "DEFAULT");
    for (size_t i = 0; i < N_SETTINGS; i++)
        print_row(out, &settings[i], widths);
}

static void print_markdown(FILE *out) {
    fputs("| Setting | Range | Default | Meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        char range[120];
        const struct setting *setting = &settings[i];
        /* A code span can't be empty. */
        const char *quote = setting->preset[0] ? "`" : "";
        fprintf(out, "| `%s` | %s | %s%s%s | %s |\n", setting->key, expectation(setting, range), quote,
                setting->preset[0] ? setting->preset : "(empty)", quote, setting->text);
    }
}

void config_help(FILE *out, bool markdown) {
    if (markdown)
        print_markdown(out);
    else
        print_text(out);
}
