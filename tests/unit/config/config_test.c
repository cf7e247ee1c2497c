/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/table.h"
#include "server.h"

static struct config config;
static char path[] = "/tmp/couponsd-config-XXXXXX";

static void set_up(void) {
    config_init(&config, &server_config_checks);
    close(mkstemp(path));
}

static void tear_down(void) {
    unlink(path);
    config_deinit(&config);
}

TestSuite(config, .init = set_up, .fini = tear_down);

static bool read_text(const char *text, size_t len, struct err *err) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fwrite(text, 1, len, file);
    fclose(file);
    return config_read_file(&config, path, err);
}

static void expect_read(const char *text) {
    struct err err = {0};
    cr_expect(read_text(text, strlen(text), &err), "%s", err.text);
}

/* `expected` is the rest of the error after the file's name. */
static void expect_file_refused(const char *text, const char *expected) {
    struct err err = {0};
    cr_assert_not(read_text(text, strlen(text), &err), "%s", text);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_assert_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
    cr_expect_str_eq(err.text + strlen(path), expected);
}

static void expect_set_error(const char *assignment, const char *expected, enum err_code code) {
    struct err err = {0};
    cr_assert_not(config_set(&config, assignment, &err), "%s", assignment);
    cr_expect_eq(err.code, code);
    cr_expect_str_eq(err.text, expected);
}

static void expect_set_refused(const char *assignment, const char *expected) {
    expect_set_error(assignment, expected, ERR_INVALID);
}

Test(config, the_file_of_the_databases_url_is_remembered_until_another_value) {
    char assignment[100];
    struct err err;
    FILE *file = fopen(path, "w");
    fputs("host=here\n", file);
    fclose(file);
    cr_assert_null(config_file_of(&config, "postgres.url"));
    snprintf(assignment, sizeof assignment, "postgres.url=file:%s", path);
    cr_assert(config_set(&config, assignment, &err), "%s", err.text);
    cr_expect_str_eq(config.postgres_url, "host=here");
    cr_expect_str_eq(config_file_of(&config, "postgres.url"), path);
    cr_assert(config_set(&config, "postgres.url=host=there", &err), "%s", err.text);
    cr_expect_null(config_file_of(&config, "postgres.url"));
}

Test(config, the_defaults_serve_on_this_machine) {
    cr_expect_str_eq(config.grpc_listen, "127.0.0.1:50051");
    cr_expect_str_eq(config.http_listen, "127.0.0.1:9464");
    cr_expect_str_eq(config.postgres_url, "host=127.0.0.1 port=5432 dbname=couponsd user=couponsd");
    cr_expect_str_eq(config.redis_url, "redis://127.0.0.1:6379/0");
    cr_expect_str_eq(config.kafka_brokers, "127.0.0.1:9092");
    cr_expect_str_eq(config.kafka_topic_prefix, "");
    cr_expect_eq(config.grpc_pollers, 1);
    cr_expect_eq(config.flow_queue_size, 16384);
    cr_expect_eq(config.server_drain_ms, 10000);
    cr_expect_eq(config.log_level, LOG_LEVEL_INFO);
    cr_expect(config_finish(&config, NULL));
}

Test(config, a_file_has_a_section_per_prefix_and_whole_keys_before_any) {
    expect_read("\xEF\xBB\xBF# couponsd\n"
                "kafka.partitions = 3\n"
                "\n"
                "[grpc]\n"
                "listen=0.0.0.0:1234\r\n"
                "  pollers : 4   ; not many\n"
                "; comment\n"
                "[log]\n"
                "level = debug");
    cr_expect_eq(config.kafka_partitions, 3);
    cr_expect_str_eq(config.grpc_listen, "0.0.0.0:1234");
    cr_expect_eq(config.grpc_pollers, 4);
    cr_expect_eq(config.log_level, LOG_LEVEL_DEBUG);
    cr_expect_str_eq(config.http_listen, "127.0.0.1:9464");
}

Test(config, what_comes_later_wins) {
    expect_read("[grpc]\npollers = 3\npollers = 4\n");
    cr_expect_eq(config.grpc_pollers, 4);
    cr_expect(config_set(&config, "grpc.pollers=5", NULL));
    cr_expect(config_set(&config, "grpc.pollers=6", NULL));
    cr_expect_eq(config.grpc_pollers, 6);
}

Test(config, values_keep_equals_signs_and_may_be_empty) {
    cr_expect(config_set(&config, "postgres.url=postgresql://u@h/d?options=-c%20x=y", NULL));
    cr_expect_str_eq(config.postgres_url, "postgresql://u@h/d?options=-c%20x=y");
    cr_expect(config_set(&config, "kafka.topic_prefix=test-1.", NULL));
    cr_expect(config_set(&config, "kafka.topic_prefix=", NULL));
    cr_expect_str_eq(config.kafka_topic_prefix, "");
    expect_read("[postgres]\nurl = host=h user=u\n");
    cr_expect_str_eq(config.postgres_url, "host=h user=u");
}

Test(config, a_line_may_be_as_long_as_a_connection_string_needs) {
    char text[4300] = "[postgres]\nurl = ";
    size_t start = strlen(text);
    memset(text + start, 'x', 4000);
    strcpy(text + start + 4000, "\n[grpc]\npollers = 7\n");
    expect_read(text);
    cr_expect_eq(strlen(config.postgres_url), 4000);
    cr_expect_eq(config.grpc_pollers, 7);
}

Test(config, a_line_that_is_too_long_is_refused_and_not_cut) {
    char text[6000] = "[postgres]\nurl = ";
    memset(text + strlen(text), 'x', 5000);
    expect_file_refused(text, ":2: this line is too long; use --set for this setting");
}

Test(config, an_unknown_key_is_refused_with_the_closest_one) {
    expect_set_refused("grpc.poller=2", "--set: there is no setting grpc.poller; did you mean grpc.pollers");
    expect_set_refused("GRPC.LISTEN=x", "--set: there is no setting GRPC.LISTEN; --help lists all, the closest is "
                                        "grpc.listen");
    expect_file_refused("[grpc]\n\nlisen = a:1\n", ":3: there is no setting grpc.lisen; did you mean grpc.listen");
    expect_file_refused("[kafka]\n[redis]\nbrokers = x\n",
                        ":3: there is no setting redis.brokers; did you mean kafka.brokers");
}

Test(config, a_number_out_of_range_is_refused_with_the_range) {
    expect_set_refused("grpc.pollers=0", "--set: grpc.pollers: \"0\" is out of range; expected 1 to 64");
    expect_set_refused("grpc.pollers=65", "--set: grpc.pollers: \"65\" is out of range; expected 1 to 64");
    expect_set_refused("redis.timeout_ms=-1",
                       "--set: redis.timeout_ms: \"-1\" is out of range; expected 10 to 10000 ms");
    expect_set_refused("redis.timeout_ms=99999999999999999999",
                       "--set: redis.timeout_ms: \"99999999999999999999\" is out of range; expected 10 to 10000 ms");
    expect_file_refused("[grpc]\nmax_message_bytes = 5\n",
                        ":2: grpc.max_message_bytes: \"5\" is out of range; expected 1024 to 16777216 bytes");
    cr_expect_eq(config.grpc_pollers, 1);
}

Test(config, what_is_not_a_whole_number_is_refused) {
    static const char *const values[] = {"", "two", "2x", "2.5", " 2", "+2", "0x2", "1e2", "-"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char assignment[40], expected[120];
        snprintf(assignment, sizeof assignment, "grpc.pollers=%s", values[i]);
        snprintf(expected, sizeof expected, "--set: grpc.pollers: \"%s\" is not a whole number; expected 1 to 64",
                 values[i]);
        expect_set_refused(assignment, expected);
    }
}

Test(config, a_listen_address_is_a_host_and_a_port) {
    static const char *const good[] = {"0.0.0.0:0", "localhost:65535", "[::1]:50051", "[::]:1", "coupon-1.example:80"};
    static const char *const bad[] = {"",       "50051",   ":50051",  "host",     "host:",    "host:65536",
                                      "::1:80", "[::1:80", "[]:80",   "host:80 ", "host:-1",  "host:8o",
                                      "a b:80", "h/x:80",  "[::1]80", "h:1:2",    "[gg/]:80", "unix:/tmp/x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char assignment[60];
        snprintf(assignment, sizeof assignment, "grpc.listen=%s", good[i]);
        cr_expect(config_set(&config, assignment, NULL), "%s", good[i]);
        cr_expect_str_eq(config.grpc_listen, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char assignment[60], expected[120];
        snprintf(assignment, sizeof assignment, "http.listen=%s", bad[i]);
        snprintf(expected, sizeof expected,
                 "--set: http.listen: \"%s\" is not valid; expected HOST:PORT (IPv6 in brackets)", bad[i]);
        expect_set_refused(assignment, expected);
    }
}

Test(config, a_redis_url_has_host_port_and_database) {
    static const char *const good[] = {"redis://",
                                       "redis:///2",
                                       "redis://h",
                                       "redis://h:1",
                                       "redis://h:1/",
                                       "redis://h/15",
                                       "redis://[::1]:6379/0",
                                       "redis://10.0.0.1",
                                       "redis://u:p@h:1",
                                       "redis://:p%40@h/2",
                                       "rediss://h:1/2",
                                       "redis://h:1,i:2/0",
                                       "unix:///run/redis.sock?db=1",
                                       "redis+sentinel://h,i/m/1"};
    static const char *const bad[] = {"",
                                      "h:6379",
                                      "http://h",
                                      "redis:/h",
                                      "redis://h:x",
                                      "redis://h:",
                                      "redis://h:1/x",
                                      "redis://h/-1",
                                      "redis://:1/0",
                                      "redis://u@h:1",
                                      "redis://u:p q@h:1",
                                      "redis://u:p@:1",
                                      "redis://h/1/2"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char assignment[60];
        snprintf(assignment, sizeof assignment, "redis.url=%s", good[i]);
        cr_expect(config_set(&config, assignment, NULL), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char assignment[60];
        snprintf(assignment, sizeof assignment, "redis.url=%s", bad[i]);
        /* The error omits the value, which may have a password. */
        expect_set_refused(assignment, "--set: redis.url: is not valid; expected redis://[[USER]:PW@]HOST[:PORT][/DB]");
    }
}

Test(config, texts_that_can_not_work_are_refused) {
    expect_set_refused("kafka.brokers=", "--set: kafka.brokers: is not valid; expected text of 1 to 4096 bytes");
    expect_set_refused("kafka.topic_prefix=a b",
                       "--set: kafka.topic_prefix: \"a b\" is not valid; expected up to 100 of a-z A-Z 0-9 . _ -");
    expect_set_refused("log.level=loud",
                       "--set: log.level: \"loud\" is not one of the choices; expected debug, info, warn or error");
}

Test(config, an_assignment_without_equals_sign_or_key_is_refused) {
    expect_set_refused("grpc.pollers", "--set: \"grpc.pollers\" assigns nothing; expected key=value");
    expect_set_refused("=2", "--set: \"=2\" assigns nothing; expected key=value");
}

Test(config, lines_that_are_no_settings_are_refused_with_their_number) {
#define NOT_UNDERSTOOD ": this line is not understood; expected [section], key = value, or a comment (; or #)"
    expect_file_refused("[grpc]\npollers\n", ":2" NOT_UNDERSTOOD);
    expect_file_refused("\n\n[grpc\npollers = 2\n", ":3" NOT_UNDERSTOOD);
    /* The error is about the first of several bad lines. */
    expect_file_refused("rubbish\n[grpc]\npollers = 0\n", ":1" NOT_UNDERSTOOD);
    expect_file_refused("[grpc]\npollers = 0\nrubbish\n", ":2: grpc.pollers: \"0\" is out of range; expected 1 to 64");
}

Test(config, a_binary_file_is_refused) {
    struct err err = {0};
    cr_expect_not(read_text("[grpc]\npol\0lers = 2\n", 21, &err));
    cr_expect_not_null(strstr(err.text, ":2: this line has a NUL byte; expected a text file"));
}

Test(config, a_file_that_can_not_be_read_is_named) {
    struct err err = {0};
    cr_expect_not(config_read_file(&config, "/nowhere/couponsd.ini", &err));
    cr_expect_str_eq(err.text, "/nowhere/couponsd.ini: can't be opened: No such file or directory");
    cr_expect_not(config_read_file(&config, "/", &err));
    cr_expect_str_eq(err.text, "/: can't be read: Is a directory");
}

Test(config, an_empty_file_changes_nothing) {
    expect_read("");
    cr_expect_eq(config.grpc_pollers, 1);
}

Test(config, a_batch_is_not_larger_than_its_queue) {
    static const char *const keys[] = {"gate.batch_max", "admit.batch_max", "status.batch_max"};
    for (size_t i = 0; i < 3; i++) {
        char assignment[60], expected[200];
        struct err err = {0};
        config_deinit(&config);
        config_init(&config, &server_config_checks);
        cr_assert(config_set(&config, "flow.queue_size=4096", NULL));
        snprintf(assignment, sizeof assignment, "%s=4096", keys[i]);
        cr_assert(config_set(&config, assignment, NULL));
        cr_expect(config_finish(&config, &err), "%s", err.text);
        snprintf(assignment, sizeof assignment, "%s=4097", keys[i]);
        cr_assert(config_set(&config, assignment, NULL));
        cr_expect_not(config_finish(&config, &err));
        snprintf(expected, sizeof expected,
                 "%s (4097) is larger than flow.queue_size (4096), the queue it is taken from; lower the first or "
                 "raise the second",
                 keys[i]);
        cr_expect_str_eq(err.text, expected);
    }
}

static char *help(enum config_format format) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_help(out, format);
    fclose(out);
    return text;
}

Test(config, help_shows_key_range_default_and_meaning_in_columns) {
    char *text = help(CONFIG_TEXT);
    cr_expect_not_null(strstr(text, "  grpc.pollers                   1 to 64 "));
    cr_expect_not_null(strstr(text, "127.0.0.1:50051\n"));
    cr_expect_not_null(strstr(text, "threads that serve gRPC calls\n"));
    cr_expect_not_null(strstr(text, "10 to 10000 ms "));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        cr_expect_leq(strlen(line), 125, "%s", line);
    free(text);
}

Test(config, help_as_markdown_is_a_table) {
    char *text = help(CONFIG_MARKDOWN);
    cr_expect_eq(
        strncmp(text, "| Setting | Range | Default | A change takes effect | Meaning |\n|---|---|---|---|---|\n", 86),
        0);
    cr_expect_not_null(
        strstr(text, "| `grpc.pollers` | 1 to 64 | `1` | at a restart | threads that serve gRPC calls |\n"));
    cr_expect_not_null(strstr(text, " | (empty) | when the file changes | "));
    cr_expect_not_null(strstr(text, "| `kafka.topic_prefix` | up to 100 of a-z A-Z 0-9 . _ - | (empty) | "));
    free(text);
}

Test(config, every_setting_says_when_a_change_takes_effect) {
    for (size_t i = 0; i < n_settings; i++) {
        cr_assert_neq(settings[i].change, 0, "%s", settings[i].key);
        cr_expect_not_null(setting_change_text(&settings[i]), "%s", settings[i].key);
    }
}

/* With its lines uncommented, the file sets every setting to its default, so it is valid in both forms. */
Test(config, help_as_ini_is_a_file_with_every_default) {
    char *text = help(CONFIG_INI), *markdown = help(CONFIG_MARKDOWN);
    cr_expect_not_null(
        strstr(text, "\n[http]\n# the address that serves /metrics, /healthz, /readyz and the console over HTTP\n"));
    cr_expect_not_null(strstr(text, "\n# threads that serve gRPC calls\n#   1 to 64\n#pollers = 1\n"));
    int n_values = 0, n_rows = 0;
    for (char *row = markdown; (row = strstr(row, "\n| `")); row++)
        n_rows++;
    for (char *line = text; (line = strchr(line, '\n')); line++)
        if (line[1] == '#' && line[2] >= 'a' && line[2] <= 'z') {
            line[1] = ' ';
            n_values++;
        }
    cr_expect_eq(n_values, n_rows);
    struct err err = {0};
    char file[] = "/tmp/couponsd-config-XXXXXX";
    int fd = mkstemp(file);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    cr_expect(config_read_file(&config, file, &err), "%s", err.text);
    cr_expect(config_finish(&config, &err), "%s", err.text);
    unlink(file);
    free(text);
    free(markdown);
}

Test(config, formats_have_names) {
    enum config_format format;
    cr_expect(config_format_named("man", &format));
    cr_expect_eq(format, CONFIG_MAN);
    cr_expect_not(config_format_named("html", &format));
}

Test(config, the_environment_sets_every_setting_and_properties_of_librdkafka) {
    char *environment[] = {"PATH=/bin",
                           "COUPONSD_PORT=tcp://10.0.0.1:50051", /* as Kubernetes sets it for a service of that name */
                           "COUPONSD_SET_GRPC_POLLERS=3",
                           "COUPONSD_SET_KAFKA_TOPIC_PREFIX=x.",
                           "COUPONSD_SET_KAFKA_SECURITY_PROTOCOL=plaintext",
                           NULL};
    struct err err = {0};
    cr_assert(config_read_environment(&config, environment, &err), "%s", err.text);
    cr_expect_eq(config.grpc_pollers, 3);
    cr_expect_str_eq(config.kafka_topic_prefix, "x.");
    cr_assert_eq(config.n_kafka_properties, 1);
    cr_expect_str_eq(config.kafka_properties[0].name, "security.protocol");
    cr_expect_str_eq(config.kafka_properties[0].value, "plaintext");
}

Test(config, a_bad_variable_is_named) {
    char *out_of_range[] = {"COUPONSD_SET_GRPC_POLLERS=0", NULL}, *unknown[] = {"COUPONSD_SET_GRPC_POLLER=1", NULL};
    struct err err = {0};
    cr_assert_not(config_read_environment(&config, out_of_range, &err));
    cr_expect_str_eq(err.text,
                     "environment: COUPONSD_SET_GRPC_POLLERS: grpc.pollers: \"0\" is out of range; expected 1 "
                     "to 64");
    cr_assert_not(config_read_environment(&config, unknown, &err));
    cr_expect_str_eq(err.text, "environment: COUPONSD_SET_GRPC_POLLER: there is no setting grpc.poller; did you mean "
                               "grpc.pollers");
}

Test(config, properties_of_librdkafka_are_taken_and_the_last_value_wins) {
    cr_expect(config_set(&config, "kafka.sasl.username=me", NULL));
    cr_expect(config_set(&config, "kafka.fetch.wait.max.ms=50", NULL));
    expect_read("[kafka]\nsasl.username = you\n");
    cr_assert_eq(config.n_kafka_properties, 2);
    cr_expect_str_eq(config.kafka_properties[0].value, "you");
}

Test(config, a_property_that_librdkafka_refuses_or_couponsd_owns_is_refused) {
    expect_set_refused("kafka.partition=3", "--set: there is no setting kafka.partition; did you mean kafka.partitions "
                                            "(nor does librdkafka have partition)");
    expect_set_refused("kafka.acks=1",
                       "--set: kafka.acks: couponsd sets acks itself: acknowledged messages must be on all replicas");
    expect_set_refused("kafka.bootstrap.servers=x",
                       "--set: kafka.bootstrap.servers: couponsd sets bootstrap.servers itself: use kafka.brokers");
    expect_set_refused("kafka.security.protocol=loud",
                       "--set: kafka.security.protocol: librdkafka refuses this value of security.protocol: Invalid "
                       "value \"loud\" for configuration property \"security.protocol\"");
}

static void write_secret(const char *text, size_t len) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fwrite(text, 1, len, file);
    fclose(file);
}

Test(config, a_text_may_stand_in_a_file_of_its_own) {
    char assignment[100];
    write_secret("s3cret\n", 7);
    snprintf(assignment, sizeof assignment, "kafka.sasl.password=file:%s", path);
    cr_expect(config_set(&config, assignment, NULL));
    cr_expect_str_eq(config.kafka_properties[0].value, "s3cret");
    snprintf(assignment, sizeof assignment, "redis.password=file:%s", path);
    cr_expect(config_set(&config, assignment, NULL));
    cr_expect_str_eq(config.redis_password, "s3cret");
}

Test(config, a_secret_file_that_is_empty_or_missing_is_named_but_never_shown) {
    char assignment[100], expected[200];
    write_secret("\n", 1);
    snprintf(assignment, sizeof assignment, "redis.password=file:%s", path);
    snprintf(expected, sizeof expected, "--set: redis.password: %s is empty", path);
    expect_set_error(assignment, expected, ERR_UNAVAILABLE);
    expect_set_error("redis.password=file:/nowhere/x",
                     "--set: redis.password: /nowhere/x can't be opened: No such file or directory", ERR_UNAVAILABLE);
    write_secret("s3\0cret", 7);
    snprintf(expected, sizeof expected, "--set: redis.password: %s has a NUL byte", path);
    expect_set_refused(assignment, expected);
    write_secret("s3cret", 6);
    snprintf(assignment, sizeof assignment, "redis.url=file:%s", path);
    expect_set_refused(assignment, "--set: redis.url: is not valid; expected redis://[[USER]:PW@]HOST[:PORT][/DB]");
}

Test(config, redis_credentials_take_the_place_of_those_in_the_url) {
    struct err err = {0};
    cr_assert(config_set(&config, "redis.url=redis://a:b@h:1/2", NULL));
    cr_assert(config_set(&config, "redis.username=me", NULL));
    cr_expect_not(config_finish(&config, &err));
    cr_expect_str_eq(err.text, "redis.username is set without redis.password: set both, or have both in redis.url");
    cr_assert(config_set(&config, "redis.password=p@ss/w:d", NULL));
    cr_assert(config_finish(&config, &err), "%s", err.text);
    cr_expect_str_eq(config.redis_url, "redis://me:p%40ss%2Fw%3Ad@h:1/2");
}

Test(config, redis_credentials_are_added_to_every_form_of_the_url) {
    static const char *const forms[][2] = {
        {"rediss://h,i:1/2", "rediss://me:p%40@h,i:1/2"},
        {"redis+sentinel://a@b:c@h/m", "redis+sentinel://me:p%40@h/m"},
        {"unix:///run/redis.sock?db=1", "unix://me:p%40@/run/redis.sock?db=1"},
    };
    cr_assert(config_set(&config, "redis.username=me", NULL) && config_set(&config, "redis.password=p@", NULL));
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char assignment[80];
        struct err err = {0};
        snprintf(assignment, sizeof assignment, "redis.url=%s", forms[i][0]);
        cr_assert(config_set(&config, assignment, NULL), "%s", assignment);
        cr_assert(config_finish(&config, &err), "%s", err.text);
        cr_expect_str_eq(config.redis_url, forms[i][1]);
    }
}

Test(config, settings_of_redis_that_would_have_no_effect_are_refused) {
    struct err err = {0};
    cr_assert(config_set(&config, "redis.sentinel_password=s3cret", NULL));
    cr_expect_not(config_finish(&config, &err));
    cr_expect(strstr(err.text, "need Sentinels"), "%s", err.text);
    cr_assert(config_set(&config, "redis.url=redis+sentinel://h/m", NULL));
    cr_expect(config_finish(&config, &err), "%s", err.text);
    cr_assert(config_set(&config, "redis.tls_ca=/ca.pem", NULL));
    cr_expect_not(config_finish(&config, &err));
    cr_expect(strstr(err.text, "need TLS"), "%s", err.text);
    cr_assert(config_set(&config, "redis.url=rediss+sentinel://h/m", NULL));
    cr_expect(config_finish(&config, &err), "%s", err.text);
    cr_assert(config_set(&config, "redis.tls_key=/key.pem", NULL));
    cr_expect_not(config_finish(&config, &err));
    cr_expect(strstr(err.text, "need each other"), "%s", err.text);
}

Test(config, a_postgres_url_that_libpq_can_not_read_is_refused_without_showing_it) {
    static const char *const bad[] = {"postgres.url=postgres://me:pa/ss@h/db", "postgres.url=host=h pass=s3cret",
                                      "postgres.url=postgres://me:s3cret%zz@h/db"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        cr_assert(config_set(&config, bad[i], NULL));
        cr_expect_not(config_finish(&config, &err));
        cr_expect_eq(strncmp(err.text, "postgres.url: libpq does not understand it; write host=", 55), 0, "%s",
                     err.text);
        cr_expect_null(strstr(err.text, "s3cret"));
    }
}
