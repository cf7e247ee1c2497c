/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and checks the settings; see config.h. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/secret_file.h"
#include "config/check_access.h"
#include "config/redis_url.h"
#include "config/table.h"

static void *field_of(struct config *config, const struct setting *setting) {
    return (char *)config + setting->offset;
}

static bool is_string(const struct setting *setting) {
    return setting->type != TYPE_INT && setting->type != TYPE_BOOL && setting->type != TYPE_CHOICE &&
           setting->type != TYPE_RATIO;
}

/* True if [at, end) is a number of at most 9 digits, and at most `max`. */
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

/* True if [at, end) has only letters, digits, and characters of `more`. */
static bool is_made_of(const char *at, const char *end, const char *more) {
    for (; at < end; at++) {
        if (!isalnum((unsigned char)*at) && !strchr(more, *at))
            return false;
    }
    return true;
}

/* Returns the end of the host at `at`: a name, an IPv4 address, or an IPv6 address in brackets. Returns NULL if there
 * is no host. */
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

/* Unlike the parser, refuses a port without a host. */
static bool is_redis_url(const char *value) {
    struct redis_url url;
    return redis_url_parse(value, &url, NULL) && (url.addresses[0].is_host_given || !url.addresses[0].is_port_given);
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
    char expected[SETTING_EXPECTATION_SIZE], shown[100] = "";
    if (setting->type != TYPE_TEXT && setting->type != TYPE_REDIS_URL)
        snprintf(shown, sizeof shown, " \"%.80s\"", value);
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %s:%s %s; expected %s", where, setting->key, shown, what,
                   setting_expectation(setting, expected));
}

static bool assign_int(int64_t *ret, const struct setting *setting, const char *value, const char *where,
                       struct err *err) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    /* strtoll would accept leading space and a plus sign. */
    if (end == value || *end != '\0' || (!isdigit((unsigned char)value[0]) && value[0] != '-'))
        return refuse_value(setting, value, where, "is not a whole number", err);
    if (errno == ERANGE || number < setting->min || number > setting->max)
        return refuse_value(setting, value, where, "is out of range", err);
    *ret = number;
    return true;
}

static bool assign_ratio(double *ret, const struct setting *setting, const char *value, const char *where,
                         struct err *err) {
    /* strtod would accept more: hexadecimal digits, "nan", and leading space. */
    bool is_plain = *value && strspn(value, "0123456789.") == strlen(value);
    char *end = NULL;
    double ratio = is_plain ? strtod(value, &end) : 2;
    if (!is_plain || *end != '\0' || ratio > 1)
        return refuse_value(setting, value, where, "is not a ratio", err);
    *ret = ratio;
    return true;
}

static bool assign_choice(int *ret, const struct setting *setting, const char *value, const char *where,
                          struct err *err) {
    for (int i = 0; setting->choices[i]; i++)
        if (strcmp(value, setting->choices[i]) == 0) {
            *ret = i;
            return true;
        }
    return refuse_value(setting, value, where, "is not one of the choices", err);
}

static bool assign(struct config *config, const struct setting *setting, const char *value, const char *where,
                   struct err *err) {
    void *field = field_of(config, setting);
    if (setting->type == TYPE_BOOL) {
        bool yes = strcmp(value, "true") == 0;
        if (!yes && strcmp(value, "false") != 0)
            return refuse_value(setting, value, where, "is not valid", err);
        *(bool *)field = yes;
        return true;
    }
    if (setting->type == TYPE_INT)
        return assign_int(field, setting, value, where, err);
    if (setting->type == TYPE_RATIO)
        return assign_ratio(field, setting, value, where, err);
    if (setting->type == TYPE_CHOICE)
        return assign_choice(field, setting, value, where, err);
    if (!is_valid_string(setting, value))
        return refuse_value(setting, value, where, "is not valid", err);
    free(*(char **)field);
    *(char **)field = memory_copy(value);
    return true;
}

/* Returns the Levenshtein distance. `b` is a key of the table, so it has fewer than 64 characters. */
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
    for (size_t i = 1; i < n_settings; i++) {
        if (distance(key, settings[i].key) < distance(key, closest->key))
            closest = &settings[i];
    }
    /* If more than half of the key is wrong, it is not a typing error. The closest key still shows what keys look
     * like. */
    bool is_slip = distance(key, closest->key) <= strlen(closest->key) / 2;
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: there is no setting %.100s; %s %s", where, key,
                   is_slip ? "did you mean" : "--help lists all, the closest is", closest->key);
}

/* --- librdkafka's properties --- */

#define KAFKA_PREFIX "kafka."

static void keep_property(struct config *config, const char *name, const char *value) {
    struct property *property = config->kafka_properties, *end = property + config->n_kafka_properties;
    while (property < end && strcmp(property->name, name) != 0)
        property++;
    if (property < end) {
        free(property->value);
        property->value = memory_copy(value);
        return;
    }
    size_t n = config->n_kafka_properties + 1;
    config->kafka_properties = memory_resize(config->kafka_properties, n, sizeof *config->kafka_properties);
    config->kafka_properties[n - 1] = (struct property){memory_copy(name), memory_copy(value)};
    config->n_kafka_properties = n;
}

static bool set_property(struct config *config, const char *key, const char *value, const char *where,
                         struct err *err) {
    const char *name = key + sizeof KAFKA_PREFIX - 1;
    struct err problem, unknown;
    if (config->checks->kafka_property && !config->checks->kafka_property(name, value, &problem)) {
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

#define FILE_PREFIX "file:"

/* Returns the path in a value of the form file:PATH, or NULL. */
static const char *path_of(const char *value) {
    return strncmp(value, FILE_PREFIX, sizeof FILE_PREFIX - 1) == 0 ? value + sizeof FILE_PREFIX - 1 : NULL;
}

static bool set_plain(struct config *config, const char *key, const char *value, const char *where, struct err *err) {
    for (size_t i = 0; i < n_settings; i++) {
        if (strcmp(settings[i].key, key) == 0)
            return assign(config, &settings[i], value, where, err);
    }
    if (strncmp(key, KAFKA_PREFIX, sizeof KAFKA_PREFIX - 1) == 0)
        return set_property(config, key, value, where, err);
    return refuse_key(key, where, err);
}

/* Notes which file holds the value. `path` is NULL if none does. */
static void note_file(struct config *config, const char *key, const char *path) {
    struct property *file = config->files, *end = file + config->n_files;
    while (file < end && strcmp(file->name, key) != 0)
        file++;
    if (file < end) {
        free(file->value);
        file->value = path ? memory_copy(path) : NULL;
    } else if (path) {
        config->files = memory_resize(config->files, config->n_files + 1, sizeof *config->files);
        config->files[config->n_files++] = (struct property){memory_copy(key), memory_copy(path)};
    }
}

const char *config_file_of(const struct config *config, const char *key) {
    for (size_t i = 0; i < config->n_files; i++)
        if (strcmp(config->files[i].name, key) == 0)
            return config->files[i].value;
    return NULL;
}

static bool set(struct config *config, const char *key, const char *value, const char *where, struct err *err) {
    const char *path = path_of(value), *why = "";
    bool may_come = false;
    char *text = path ? secret_file_read(path, &why, &may_come) : NULL;
    if (path && !text)
        return err_set(err, may_come ? ERR_UNAVAILABLE : ERR_INVALID, BACKEND_NONE, "%s: %s: %s %s", where, key, path,
                       why);
    bool ok = set_plain(config, key, path ? text : value, where, err);
    if (ok)
        note_file(config, key, path);
    free(text);
    return ok;
}

void config_init(struct config *config, const struct config_checks *checks) {
    memset(config, 0, sizeof *config);
    config->checks = checks;
    for (size_t i = 0; i < n_settings; i++) {
        if (!assign(config, &settings[i], settings[i].preset, "default", NULL))
            abort(); /* a defect: the table's default is not a valid value */
    }
}

void config_deinit(struct config *config) {
    if (!config)
        return;
    for (size_t i = 0; i < n_settings; i++) {
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
    for (size_t i = 0; i < config->n_files; i++) {
        free(config->files[i].name);
        free(config->files[i].value);
    }
    free(config->files);
    config->files = NULL;
    config->n_files = 0;
    free(config->kafka_properties);
    config->kafka_properties = NULL;
    config->n_kafka_properties = 0;
}

bool config_set(struct config *config, const char *assignment, struct err *err) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "--set: \"%.100s\" assigns nothing; expected key=value",
                       assignment);
    char *key = memory_must(strndup(assignment, (size_t)(equals - assignment)));
    bool ok = set(config, key, equals + 1, "--set", err);
    free(key);
    return ok;
}

/* --- the file --- */

/* The file while inih parses it. inih does not pass line numbers to its handler, so read_line counts them: inih handles
 * a line before it reads the next. */
struct ini_source {
    FILE *file;
    const char *path;
    struct config *config;
    struct err *err;
    char *line; /* getline's buffer */
    size_t line_cap;
    int line_number; /* of the current line */
    bool failed;     /* *err is set; the rest of the file is ignored */
};

/* The longest line of the file: a postgres.url of 4,096 bytes and its key. Debian's build of inih takes lines of up to
 * 200 bytes unless these variables are set. Other builds have a constant limit and lack the variables, so they are
 * weak. */
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

/* inih's ini_reader: copies the next line without its indentation. */
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
    /* inih would take an indented line for a continuation of the previous value. */
    size_t indent = strspn(line, " \t");
    line += indent;
    len -= indent;
    if (len >= (size_t)room)
        return fail_line(source, "this line is too long; use --set for this setting");
    return memcpy(out, line, len + 1);
}

/* inih's ini_handler: returns 0 on failure. */
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
    memory_must(bad_line < 0 ? NULL : &source); /* negative: inih could not allocate memory */
    /* inih returns the first bad line. If that is not the line that `set` has refused, inih could not parse it. */
    if (bad_line > 0 && !(source.failed && source.line_number == bad_line))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "%s:%d: this line is not understood; expected [section], key = value, or a comment (; or #)",
                       path, bad_line);
    return !source.failed;
}

/* --- the environment --- */

#define VARIABLE_PREFIX "COUPONSD_SET_"

/* Writes the key that a variable's name stands for. It is the key of a setting, with its dots written as underscores,
 * or else a property of librdkafka, whose names have no underscores. */
static void key_of_variable(const char *name, size_t len, char ret_key[static 120]) {
    if (len > 119)
        len = 119;
    for (size_t i = 0; i < len; i++)
        ret_key[i] = (char)tolower((unsigned char)name[i]);
    ret_key[len] = 0;
    for (size_t i = 0; i < n_settings; i++) {
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

/* --- checks of several settings --- */

/* Writes all bytes except letters and digits as %XX. Returns the length. */
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

/* Replaces the credentials in redis.url by redis.username and redis.password. */
static bool add_redis_credentials(struct config *config, struct err *err) {
    static const char mark[] = "://";
    if (!*config->redis_password) {
        if (*config->redis_username)
            return err_set(err, ERR_INVALID, BACKEND_NONE,
                           "redis.username is set without redis.password: set both, or have both in redis.url");
        return true;
    }
    size_t scheme_len = (size_t)(strstr(config->redis_url, mark) - config->redis_url) + sizeof mark - 1;
    const char *rest = config->redis_url + scheme_len, *at = memrchr(rest, '@', strcspn(rest, "/"));
    rest = at ? at + 1 : rest;
    char *url = memory_new(1, scheme_len + 3 * strlen(config->redis_username) + 3 * strlen(config->redis_password) +
                                  strlen(rest) + 3);
    size_t len = (size_t)sprintf(url, "%.*s", (int)scheme_len, config->redis_url);
    len += percent_encode(url + len, config->redis_username);
    url[len++] = ':';
    len += percent_encode(url + len, config->redis_password);
    sprintf(url + len, "@%s", rest);
    free(config->redis_url);
    config->redis_url = url;
    return true;
}

/* Refuses settings of Redis that would have no effect. */
static bool check_redis(const struct config *config, struct err *err) {
    struct redis_url url;
    if (!redis_url_parse(config->redis_url, &url, err))
        return false;
    if ((config->redis_tls_certificate[0] != '\0') != (config->redis_tls_key[0] != '\0'))
        return err_set(err, ERR_INVALID, BACKEND_NONE, "redis.tls_certificate and redis.tls_key need each other");
    if (!url.has_tls && (config->redis_tls_ca[0] || config->redis_tls_certificate[0] || config->redis_tls_name[0]))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "redis.tls_ca, redis.tls_certificate and redis.tls_name need TLS: let redis.url begin with "
                       "rediss:// or rediss+sentinel://");
    if (url.kind != REDIS_KIND_SENTINEL && (config->redis_sentinel_username[0] || config->redis_sentinel_password[0]))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "redis.sentinel_username and redis.sentinel_password need Sentinels: let redis.url begin with "
                       "redis+sentinel:// or rediss+sentinel://");
    if (config->redis_sentinel_username[0] && !config->redis_sentinel_password[0])
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "redis.sentinel_username is set without redis.sentinel_password: set both");
    return true;
}

static bool check(const struct config *config, struct err *err) {
    struct err problem;
    if (config->checks->postgres_url && !config->checks->postgres_url(config->postgres_url, &problem))
        return err_set(err, ERR_INVALID, BACKEND_NONE, "postgres.url: %s", problem.text);
    const struct {
        const char *key;
        int64_t batch_max;
    } batches[] = {
        {"gate.batch_max", config->gate_batch_max},
        {"admit.batch_max", config->admit_batch_max},
        {"status.batch_max", config->status_batch_max},
    };
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        if (batches[i].batch_max > config->flow_queue_size)
            return err_set(err, ERR_INVALID, BACKEND_NONE,
                           "%s (%" PRId64 ") is larger than flow.queue_size (%" PRId64
                           "), the queue it is taken from; lower the first or raise the second",
                           batches[i].key, batches[i].batch_max, config->flow_queue_size);
    return true;
}

bool config_finish(struct config *config, struct err *err) {
    if (!check(config, err) || !config_check_access(config, err) || !check_redis(config, err) ||
        !add_redis_credentials(config, err))
        return false;
    struct err problem;
    return !config->checks->together || config->checks->together(config, &problem) ||
           err_set(err, problem.code, BACKEND_NONE, "%s", problem.text);
}

bool config_check_files(struct config *config, struct err *err) {
    for (size_t i = 0; i < n_settings; i++) {
        if (settings[i].type != TYPE_PATH)
            continue;
        const char *path = *(char **)field_of(config, &settings[i]);
        FILE *file = path[0] ? fopen(path, "re") : NULL;
        /* A directory can be opened, but not read. */
        bool is_open = file != NULL, ok = !path[0] || (file && (getc(file) != EOF || !ferror(file)));
        int error = errno;
        if (file)
            fclose(file);
        if (!ok)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "%s: %s can't be %s: %s", settings[i].key, path,
                           is_open ? "read" : "opened", strerror(error));
    }
    return true;
}
