/* SPDX-License-Identifier: Apache-2.0 */
/* Output of bench: progress on stderr, the result on stdout. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "bench.h"

#define TERMINAL_EVERY_US (200 * US_PER_MS)
#define LINE_EVERY_US     (2 * US_PER_S)
#define COUPONS_SHOWN     8

/* --- progress --- */

void progress_show(struct progress *progress, struct bench *bench, const char *phase) {
    int64_t now_us = clock_mono_us();
    if (progress->shown_us == 0) {
        progress->is_terminal = isatty(STDERR_FILENO);
        progress->shown_us = now_us;
    }
    if (now_us - progress->shown_us < (progress->is_terminal ? TERMINAL_EVERY_US : LINE_EVERY_US))
        return;
    progress->shown_us = now_us;
    pthread_mutex_lock(&bench->lock);
    const struct bench_result *result = &bench->result;
    double seconds = (double)(now_us - result->begin_us) / US_PER_S;
    int64_t total = bench->users * (int64_t)bench->n_coupons;
    fprintf(stderr,
            "%s%s  %.1f s  %" PRId64 " answers to %" PRId64 " requests  %" PRId64 " accepted  %" PRId64 " retries%s",
            progress->is_terminal ? "\r" : "", phase, seconds, result->answers, total, result->accepted,
            result->retries, progress->is_terminal ? "\033[K" : "\n");
    pthread_mutex_unlock(&bench->lock);
    fflush(stderr);
}

void progress_end(struct progress *progress) {
    if (progress->is_terminal)
        fputs("\r\033[K", stderr);
}

/* --- the result --- */

struct rates {
    double answer_s, accept_s, issue_s; /* seconds from the first request to the last event of each kind */
    int64_t issued;                     /* during this run */
};

static double seconds_until(const struct bench *bench, int64_t until_us) {
    return until_us > bench->result.begin_us ? (double)(until_us - bench->result.begin_us) / US_PER_S : 0;
}

static struct rates rates_of(const struct bench *bench) {
    struct rates rates = {
        .answer_s = seconds_until(bench, bench->result.last_answer_us),
        .accept_s = seconds_until(bench, bench->result.last_accept_us),
        .issue_s = seconds_until(bench, bench->result.last_issue_us),
    };
    for (size_t i = 0; i < bench->n_coupons; i++)
        rates.issued += bench->coupons[i].issued - bench->coupons[i].issued_before;
    return rates;
}

static double per_second(int64_t n, double seconds) {
    return seconds > 0 ? (double)n / seconds : 0;
}

static void add_coupons(struct strbuf *out, const struct bench *bench, size_t most) {
    for (size_t i = 0; i < bench->n_coupons && i < most; i++)
        strbuf_printf(out, "%s%" PRId64, i ? "," : "", bench->coupons[i].id);
}

static void add_json_rate(struct strbuf *out, const char *name, int64_t n, double seconds) {
    strbuf_printf(out, "\"%s\":%" PRId64 ",\"%s_seconds\":%.6f,\"%s_per_s\":%.1f,", name, n, name, seconds, name,
                  per_second(n, seconds));
}

static void add_json_latency(struct strbuf *out, const char *name, const struct histogram *histogram) {
    strbuf_printf(out,
                  "\"%s\":{\"p50\":%" PRId64 ",\"p90\":%" PRId64 ",\"p99\":%" PRId64 ",\"p999\":%" PRId64
                  ",\"max\":%" PRId64 "},",
                  name, histogram_quantile(histogram, 0.5), histogram_quantile(histogram, 0.9),
                  histogram_quantile(histogram, 0.99), histogram_quantile(histogram, 0.999), histogram->max);
}

static void report_json(const struct bench *bench) {
    const struct bench_result *result = &bench->result;
    struct rates rates = rates_of(bench);
    struct strbuf out = {0};
    strbuf_puts(&out, "{");
    add_json_rate(&out, "accepted", result->accepted, rates.accept_s);
    if (bench->no_wait)
        strbuf_puts(&out, "\"issued\":null,\"issued_per_s\":null,"); /* not observed */
    else
        add_json_rate(&out, "issued", rates.issued, rates.issue_s);
    strbuf_printf(&out, "\"seconds\":%.6f,\"answers_per_s\":%.1f,\"coupons\":[", rates.answer_s,
                  per_second(result->answers, rates.answer_s));
    add_coupons(&out, bench, SIZE_MAX);
    strbuf_printf(&out,
                  "],\"run\":\"%s\",\"requests\":%" PRId64 ",\"retries\":%" PRId64 ",\"repeats\":%" PRId64
                  ",\"accepted_before\":%" PRId64 ",\"answers\":{",
                  bench->run, bench->users * (int64_t)bench->n_coupons, result->retries, result->repeats,
                  result->known);
    for (size_t i = 0; i < result->n_outcomes; i++) {
        strbuf_puts(&out, i ? "," : "");
        strbuf_json(&out, result->outcomes[i].name);
        strbuf_printf(&out, ":%" PRId64, result->outcomes[i].n);
    }
    strbuf_puts(&out, "},");
    add_json_latency(&out, "answer_us", &result->answer_us);
    add_json_latency(&out, "served_us", &result->served_us);
    add_json_latency(&out, "refused_us", &result->refused_us);
    const struct histogram *issued = &result->issued_us;
    strbuf_printf(&out,
                  "\"issued_us\":{\"p50\":%" PRId64 ",\"p99\":%" PRId64 ",\"max\":%" PRId64 ",\"samples\":%" PRId64
                  "},\"drained\":%s,\"interrupted\":%s,\"contradictions\":%" PRId64,
                  histogram_quantile(issued, 0.5), histogram_quantile(issued, 0.99), issued->max, issued->count,
                  result->is_drained ? "true" : "false", result->is_interrupted ? "true" : "false",
                  result->contradictions);
    if (result->contradictions > 0) {
        strbuf_puts(&out, ",\"contradiction\":");
        strbuf_json(&out, result->contradiction);
    }
    strbuf_puts(&out, "}");
    puts(out.data);
    strbuf_deinit(&out);
}

static void print_rate(const char *name, int64_t n, double seconds) {
    printf("%-22s %10" PRId64 " %10.3f %12.0f\n", name, n, seconds, per_second(n, seconds));
}

static double ms(int64_t us) {
    return (double)us / US_PER_MS;
}

static void print_latency(const char *name, const struct histogram *histogram) {
    if (histogram->count > 0)
        printf("%-22s %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, ms(histogram_quantile(histogram, 0.5)),
               ms(histogram_quantile(histogram, 0.9)), ms(histogram_quantile(histogram, 0.99)),
               ms(histogram_quantile(histogram, 0.999)), ms(histogram->max));
}

static int by_number(const void *a, const void *b) {
    int64_t x = ((const struct outcome *)a)->n, y = ((const struct outcome *)b)->n;
    return (x < y) - (x > y);
}

static void print_outcomes(const struct bench_result *result) {
    struct outcome sorted[OUTCOMES_MAX];
    memcpy(sorted, result->outcomes, sizeof sorted);
    qsort(sorted, result->n_outcomes, sizeof sorted[0], by_number);
    puts("\nanswers by reason");
    for (size_t i = 0; i < result->n_outcomes; i++)
        printf("  %-20s %10" PRId64 "\n", sorted[i].name, sorted[i].n);
    if (result->retries > 0)
        printf("  %-20s %10" PRId64 "\n", "(attempts retried)", result->retries);
    if (result->repeats > 0)
        printf("  %-20s %10" PRId64 "\n", "(answers to repeats)", result->repeats);
    if (result->known > 0)
        printf("  %-20s %10" PRId64 "\n", "(accepted earlier)", result->known);
}

static void report_people(const struct bench *bench) {
    const struct bench_result *result = &bench->result;
    struct rates rates = rates_of(bench);
    struct strbuf ids = {0};
    add_coupons(&ids, bench, COUPONS_SHOWN);
    printf("%zu coupon%s (%s%s), %" PRId64 " users each, %" PRId64 " in flight on %zu connection%s, run %s\n\n",
           bench->n_coupons, bench->n_coupons == 1 ? "" : "s", ids.data, bench->n_coupons > COUPONS_SHOWN ? ",..." : "",
           bench->users, bench->concurrency, bench->n_remotes, bench->n_remotes == 1 ? "" : "s", bench->run);
    strbuf_deinit(&ids);
    printf("%-22s %10s %10s %12s\n", "", "count", "seconds", "per second");
    print_rate("answers", result->answers, rates.answer_s);
    print_rate("accepted", result->accepted, rates.accept_s);
    if (!bench->no_wait)
        print_rate("issued", rates.issued, rates.issue_s);
    print_outcomes(result);
    printf("\n%-22s %9s %9s %9s %9s %9s\n", "milliseconds", "p50", "p90", "p99", "p99.9", "max");
    print_latency(bench->rate > 0 ? "answer, from timetable" : "answer", &result->answer_us);
    if (result->served_us.count > 0 && result->refused_us.count > 0) {
        print_latency("  answered OK", &result->served_us);
        print_latency("  refused", &result->refused_us);
    }
    print_latency("accepted to issued (*)", &result->issued_us);
    if (result->issued_us.count > 0)
        printf("(*) issue_time - accept_time, both set by the server; a sample of %" PRId64 "\n",
               result->issued_us.count);
}

void bench_report(const struct bench *bench) {
    if (bench->ctl->json)
        report_json(bench);
    else
        report_people(bench);
    fflush(stdout);
}
