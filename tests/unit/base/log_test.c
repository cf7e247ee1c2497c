/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int captured = -1;

/* Each test runs in its own process, so stderr may stay redirected. */
static void capture_stderr(void) {
    captured = memfd_create("stderr", MFD_CLOEXEC);
    fcntl(captured, F_SETFL, O_APPEND); /* otherwise two threads may overwrite each other's lines */
    dup2(captured, STDERR_FILENO);
}

/* Returns the lines that were logged since the last call, without their times. */
static const char *logged(void) {
    static char text[200000];
    static off_t from;
    char raw[100000];
    ssize_t n = pread(captured, raw, sizeof raw - 1, from);
    from += n;
    raw[n] = '\0';
    text[0] = '\0';
    size_t len = 0;
    for (char *line = strtok(raw, "\n"); line; line = strtok(NULL, "\n")) {
        char time[28];
        int64_t us;
        cr_assert_eq(strncmp(line, "ts=", 3), 0, "%s", line);
        memcpy(time, line + 3, 27);
        time[27] = '\0';
        cr_assert(clock_parse(time, &us), "%s", line);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s\n", line + 31);
    }
    return text;
}

TestSuite(log, .init = capture_stderr);

Test(log, an_event_is_one_line_of_keys_and_values) {
    log_info("relay.started", LOG_STR("stream", "requested"), LOG_INT("lane", -3), LOG_NUM("lag_s", 0.25));
    cr_expect_str_eq(logged(), "level=info event=relay.started stream=requested lane=-3 lag_s=0.25\n");
}

Test(log, values_are_quoted_only_as_needed) {
    static const struct {
        const char *value, *written;
    } cases[] = {
        {"plain-text_1.2/3:4", "plain-text_1.2/3:4"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nbreak\ttab\r", "\"line\\nbreak\\ttab\\r\""},
        {"\x1b[31m", "\"\\u001b[31m\""},
        {"쿠폰", "\"쿠폰\""},
        {"bad\xFF", "\"bad\xEF\xBF\xBD\""},
        {NULL, "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_site site = {0};
        struct log_field field = LOG_STR("v", cases[i].value);
        char expected[100];
        snprintf(expected, sizeof expected, "level=warn event=e v=%s\n", cases[i].written);
        log_event(&site, LOG_LEVEL_WARN, "e", &field, 1);
        cr_expect_str_eq(logged(), expected);
    }
}

Test(log, numbers_are_exact_and_never_break_a_line) {
    log_error("e", LOG_INT("min", INT64_MIN), LOG_INT("max", INT64_MAX), LOG_NUM("nan", NAN), LOG_NUM("inf", INFINITY));
    cr_expect_str_eq(logged(),
                     "level=error event=e min=-9223372036854775808 max=9223372036854775807 nan=nan inf=inf\n");
}

Test(log, the_text_of_an_error_is_a_field) {
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, BACKEND_REDIS, "can't connect");
    log_warn("gate.redis_failed", LOG_STR("backend", backend_name(err.backend)), LOG_ERR(&err));
    cr_expect_str_eq(logged(), "level=warn event=gate.redis_failed backend=redis error=\"can't connect\"\n");
}

Test(log, a_long_value_is_cut) {
    char value[5000];
    memset(value, 'a', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    log_warn("e", LOG_STR("v", value), LOG_INT("after", 1));
    const char *line = logged();
    cr_expect_lt(strlen(line), 1100);
    cr_expect_not_null(strstr(line, "aaa…\" after=1\n"));
}

Test(log, lines_below_the_level_are_dropped) {
    log_debug("e", LOG_INT("n", 1));
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("e", LOG_INT("n", 2));
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("e", LOG_INT("n", 3));
    cr_expect_str_eq(logged(), "level=debug event=e n=3\n");
}

/* The last line, with its time replaced by T. */
static const char *logged_json(void) {
    static char text[8000];
    ssize_t n = pread(captured, text, sizeof text - 1, 0);
    text[n] = '\0';
    char *line = strrchr(text, '{');
    cr_assert_eq(strncmp(line, "{\"ts\":\"", 7), 0, "%s", line);
    cr_assert_eq(line[34], '"', "%s", line);
    memmove(line + 8, line + 34, strlen(line + 34) + 1);
    line[7] = 'T';
    return line;
}

Test(log, json_has_an_object_in_each_line) {
    log_set_format(LOG_FORMAT_JSON);
    log_info("relay.started", LOG_STR("stream", "requested"), LOG_INT("lane", -3), LOG_NUM("lag_s", 0.25),
             LOG_NUM("rate", (double)NAN), LOG_STR("none", NULL));
    cr_expect_str_eq(logged_json(),
                     "{\"ts\":\"T\",\"level\":\"info\",\"event\":\"relay.started\",\"stream\":\"requested\","
                     "\"lane\":-3,\"lag_s\":0.25,\"rate\":\"nan\",\"none\":\"null\"}\n");
}

Test(log, json_is_valid_whatever_the_value) {
    log_set_format(LOG_FORMAT_JSON);
    log_info("e", LOG_STR("v", "a\"b\\c\n\x01 b\xc3\xbc \xff end"));
    cr_expect_str_eq(strstr(logged_json(), "\"v\""), "\"v\":\"a\\\"b\\\\c\\n\\u0001 b\xc3\xbc \xEF\xBF\xBD end\"}\n");
    char long_text[1200];
    memset(long_text, 'a', sizeof long_text);
    memcpy(long_text + 999, "\xc3\xbc", 2); /* cut in its middle */
    long_text[sizeof long_text - 1] = '\0';
    log_info("e", LOG_STR("v", long_text));
    cr_expect(strstr(logged_json(), "aaa\xEF\xBF\xBD…\"}\n") != NULL);
}

Test(log, json_tells_how_many_lines_were_suppressed) {
    log_set_format(LOG_FORMAT_JSON);
    for (int i = 0; i < 40; i++) {
        if (i == 15)
            clock_sleep_us(1100 * US_PER_MS);
        log_info("e", LOG_INT("i", i));
        if (i == 15)
            break;
    }
    cr_expect(strstr(logged_json(), "\"i\":15,\"suppressed\":5}\n") != NULL, "%s", logged_json());
}

static int count_lines(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void log_times(struct log_site *site, int n) {
    for (int i = 0; i < n; i++) {
        struct log_field field = LOG_INT("n", i);
        log_event(site, LOG_LEVEL_WARN, "e", &field, 1);
    }
}

/* Simulates that a second has passed. */
static void end_window(struct log_site *site) {
    atomic_fetch_sub(&site->window_start_us, US_PER_S);
}

/* The window of 1 s starts with the first line. A test that takes longer would see more lines. */
Test(log, one_place_writes_ten_lines_a_second_and_tells_what_it_dropped) {
    struct log_site site = {0};
    log_times(&site, 25);
    cr_expect_eq(count_lines(logged()), 10);
    end_window(&site);
    log_times(&site, 2);
    cr_expect_str_eq(logged(), "level=warn event=e n=0 suppressed=15\nlevel=warn event=e n=1\n");
}

Test(log, places_do_not_silence_each_other) {
    struct log_site noisy = {0}, quiet = {0};
    log_times(&noisy, 100);
    logged();
    log_times(&quiet, 1);
    cr_expect_str_eq(logged(), "level=warn event=e n=0\n");
}

Test(log, dropped_levels_do_not_use_up_the_ten_lines) {
    struct log_site site = {0};
    log_set_level(LOG_LEVEL_ERROR);
    log_times(&site, 50);
    log_set_level(LOG_LEVEL_INFO);
    log_times(&site, 1);
    cr_expect_str_eq(logged(), "level=warn event=e n=0\n");
}

Test(log, errno_is_left_alone) {
    close(STDERR_FILENO);
    errno = ENOENT;
    log_warn("e", LOG_INT("n", 1));
    cr_expect_eq(errno, ENOENT);
    dup2(captured, STDERR_FILENO);
}

static void *log_from_thread(void *site) {
    log_times(site, 1000);
    return NULL;
}

Test(log, threads_may_share_a_place_and_every_line_is_accounted_for) {
    struct log_site site = {0};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_from_thread, &site);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int lines = 0, told = 0;
    for (const char *line = logged(); *line; line = strchr(line, '\n') + 1) {
        const char *suppressed = strstr(line, "suppressed=");
        lines++;
        if (suppressed && suppressed < strchr(line, '\n'))
            told += atoi(suppressed + strlen("suppressed="));
    }
    cr_expect_eq(lines + told + atomic_load(&site.suppressed), 4000);
    cr_expect_lt(lines, 400);
}

/* --- the writer --- */

/* Logs n lines of 200 bytes or so, each from a place of its own, so that no limit of a place counts. */
static void log_lines(int n) {
    char text[150];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < n; i++) {
        struct log_site site = {0};
        const struct log_field fields[] = {LOG_INT("n", i), LOG_STR("v", text)};
        log_event(&site, LOG_LEVEL_WARN, "e", fields, 2);
    }
}

static void start_writer(void) {
    struct err err;
    cr_assert(log_writer_start(&err), "%s", err.text);
}

static int unread_pipe(void) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static int64_t ms_since(int64_t began_us) {
    return (clock_mono_us() - began_us) / US_PER_MS;
}

Test(log, the_writer_keeps_the_order_and_writes_all_before_it_stops) {
    start_writer();
    log_lines(300);
    log_writer_stop();
    const char *line = logged();
    for (int i = 0; i < 300; i++, line = strchr(line, '\n') + 1) {
        char expected[60];
        snprintf(expected, sizeof expected, "level=warn event=e n=%d v=x", i);
        cr_assert_eq(strncmp(line, expected, strlen(expected)), 0, "%s", line);
    }
    cr_expect_eq(log_lost_lines(), 0);
    log_warn("after", LOG_INT("n", 1)); /* without a writer again */
    cr_expect_str_eq(logged(), "level=warn event=after n=1\n");
}

Test(log, a_pipe_that_nobody_reads_blocks_no_one_and_when_it_is_read_the_lost_lines_are_told) {
    enum { LINES = 10000 };
    int end = unread_pipe(), n = 0, told = 0;
    start_writer();
    int64_t began_us = clock_mono_us();
    log_lines(LINES);
    cr_expect_lt(ms_since(began_us), 1000);
    int64_t lost = log_lost_lines();
    cr_expect_gt(lost, LINES / 2);
    cr_expect_lt(lost, LINES - 500, "the queue holds some");
    FILE *lines = fdopen(end, "r");
    char line[1000];
    while (n + told < LINES && fgets(line, sizeof line, lines)) {
        n += strstr(line, " event=e ") != NULL;
        if (strstr(line, " level=warn event=log.lost lines="))
            told += atoi(strstr(line, "lines=") + 6);
    }
    cr_expect_eq(told, lost);
    cr_expect_eq(n, LINES - lost);
    log_warn("after", LOG_INT("n", 1));
    cr_expect_not_null(fgets(line, sizeof line, lines));
    cr_expect_not_null(strstr(line, "event=after n=1\n"));
    log_writer_stop();
}

Test(log, a_full_disk_loses_lines_and_when_there_is_room_they_are_told) {
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    dup2(full, STDERR_FILENO);
    start_writer();
    log_lines(3);
    while (log_lost_lines() < 3)
        clock_sleep_us(US_PER_MS);
    dup2(captured, STDERR_FILENO);
    log_warn("after", LOG_INT("n", 1));
    log_writer_stop();
    cr_expect_str_eq(logged(), "level=warn event=log.lost lines=3\nlevel=warn event=after n=1\n");
    cr_expect_eq(log_lost_lines(), 3);
}

Test(log, a_stop_does_not_wait_for_a_pipe_that_nobody_reads) {
    unread_pipe();
    start_writer();
    log_lines(1000);
    int64_t began_us = clock_mono_us();
    log_writer_stop();
    log_lines(10);
    cr_expect_lt(ms_since(began_us), 3000);
    cr_expect_geq(log_lost_lines(), 10);
}

Test(log, last_words_are_written_unless_that_would_block) {
    static const char wanted[] = "level=error event=the.end reason=\"a ?b??\"\n";
    log_last_words("the.end", "a \"b\n\xff");
    char text[100] = "";
    cr_expect_eq(pread(captured, text, sizeof text, 0), (ssize_t)strlen(wanted));
    cr_expect_str_eq(text, wanted);
    int end = unread_pipe();
    char room[4096] = "";
    cr_assert_eq(write(STDERR_FILENO, room, sizeof room), (ssize_t)sizeof room);
    log_last_words("the.end", NULL);
    cr_expect_eq(read(end, room, sizeof room), (ssize_t)sizeof room);
}

Test(log, last_words_are_json_where_other_lines_are) {
    static const char wanted[] = "{\"level\":\"error\",\"event\":\"the.end\",\"reason\":\"\"}\n";
    log_set_format(LOG_FORMAT_JSON);
    log_last_words("the.end", NULL);
    char text[100] = "";
    cr_expect_eq(pread(captured, text, sizeof text, 0), (ssize_t)strlen(wanted));
    cr_expect_str_eq(text, wanted);
}
