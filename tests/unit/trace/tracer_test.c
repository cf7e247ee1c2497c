/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer without a receiver: nothing listens at the endpoint. tests/scenario/traces_test.py has one. */
#include "trace/tracer.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"

#define NOBODY    "http://127.0.0.1:9/v1/traces"
#define SAMPLED   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define UNSAMPLED "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
#define MANY      10000

static struct tracer *tracer_of(double ratio, int64_t max_per_s) {
    const struct tracer_options options = {.endpoint = NOBODY, .headers = "", .ratio = ratio, .max_per_s = max_per_s};
    struct tracer *tracer;
    struct err err;
    cr_assert(tracer_new(&options, &tracer, &err), "%s", err.text);
    return tracer;
}

static enum trace_choice begin(struct tracer *tracer, const char *traceparent, struct trace_span *span) {
    return tracer_begin(tracer, traceparent, strlen(traceparent), span);
}

Test(tracer, records_a_request_whose_parent_is_sampled_as_its_child) {
    struct tracer *tracer = tracer_of(0, MANY);
    struct trace_span span, next;
    struct trace_context parent;
    char text[TRACEPARENT_SIZE];
    trace_context_read(SAMPLED, strlen(SAMPLED), &parent);
    cr_assert_eq(begin(tracer, SAMPLED, &span), TRACE_RECORDED);
    cr_expect_eq(memcmp(span.trace_id, parent.trace_id, TRACE_ID_BYTES), 0);
    cr_expect_eq(memcmp(span.parent_id, parent.span_id, SPAN_ID_BYTES), 0);
    cr_expect_neq(memcmp(span.span_id, parent.span_id, SPAN_ID_BYTES), 0);
    trace_span_traceparent(&span, text);
    cr_assert(tracer_continue(tracer, text, strlen(text), &next));
    cr_expect_eq(memcmp(next.trace_id, parent.trace_id, TRACE_ID_BYTES), 0);
    cr_expect_eq(memcmp(next.parent_id, span.span_id, SPAN_ID_BYTES), 0);
    tracer_free(tracer);
}

Test(tracer, honors_a_parent_that_is_not_sampled) {
    struct tracer *tracer = tracer_of(1, MANY);
    struct trace_span span;
    cr_expect_eq(begin(tracer, UNSAMPLED, &span), TRACE_UNSAMPLED);
    cr_expect_not(tracer_continue(tracer, UNSAMPLED, strlen(UNSAMPLED), &span));
    cr_expect_not(tracer_wants(tracer, UNSAMPLED, strlen(UNSAMPLED)));
    cr_expect(tracer_wants(tracer, SAMPLED, strlen(SAMPLED)));
    tracer_free(tracer);
}

Test(tracer, records_a_share_of_the_requests_without_a_valid_parent) {
    static const double ratios[] = {0, 0.1, 0.5, 1};
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        struct tracer *tracer = tracer_of(ratios[i], MANY);
        int recorded = 0;
        for (int n = 0; n < MANY; n++) {
            static const uint8_t none[SPAN_ID_BYTES];
            struct trace_span span;
            if (begin(tracer, n % 2 ? "" : "nonsense", &span) != TRACE_RECORDED)
                continue;
            recorded++;
            cr_assert(trace_is_chosen(span.trace_id, ratios[i]));
            cr_assert_eq(memcmp(span.parent_id, none, SPAN_ID_BYTES), 0);
        }
        cr_expect_float_eq(recorded / (double)MANY, ratios[i], 0.03, "%d of %d at %g", recorded, MANY, ratios[i]);
        tracer_free(tracer);
    }
}

Test(tracer, does_not_continue_an_event_without_a_valid_parent) {
    struct tracer *tracer = tracer_of(1, MANY);
    struct trace_span span;
    cr_expect_not(tracer_continue(tracer, NULL, 0, &span));
    cr_expect_not(tracer_continue(tracer, "nonsense", 8, &span));
    cr_expect_not(tracer_continue(NULL, SAMPLED, strlen(SAMPLED), &span), "a tracer that is off");
    tracer_free(tracer);
}

Test(tracer, records_no_more_than_max_per_s) {
    struct tracer *tracer = tracer_of(1, 10);
    struct metric *limited = metrics_counter("couponsd_trace_limited_total", "", "");
    struct trace_span span;
    int recorded = 0, refused = 0;
    int64_t second = clock_mono_us() / US_PER_S;
    for (int n = 0; n < 1000; n++) {
        enum trace_choice choice = begin(tracer, SAMPLED, &span);
        recorded += choice == TRACE_RECORDED;
        refused += choice == TRACE_LIMITED;
    }
    int64_t seconds = clock_mono_us() / US_PER_S - second + 1;
    cr_expect_geq(recorded, 10);
    cr_expect_leq(recorded, 10 * seconds);
    cr_expect_eq(recorded + refused, 1000);
    cr_expect_eq((int)metric_value(limited), refused);
    tracer_free(tracer);
}

Test(tracer, makes_ids_that_differ) {
    struct tracer *tracer = tracer_of(1, MANY);
    static uint8_t ids[2000][SPAN_ID_BYTES];
    for (size_t i = 0; i < 2000; i++) {
        tracer_make_id(tracer, ids[i]);
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(memcmp(ids[i], ids[j], SPAN_ID_BYTES), 0);
    }
    tracer_free(tracer);
}

Test(tracer, drops_and_counts_spans_that_nobody_takes_and_its_end_is_quick) {
    struct tracer *tracer = tracer_of(1, MANY);
    struct metric *full = metrics_counter("couponsd_trace_spans_dropped_total", "", "reason=\"full\"");
    struct metric *failed = metrics_counter("couponsd_trace_spans_dropped_total", "", "reason=\"failed\"");
    struct trace_span span = {.step = TRACE_GATE};
    for (int i = 0; i < 5 * MANY; i++)
        tracer_push(tracer, &span);
    int64_t start_us = clock_mono_us();
    tracer_free(tracer);
    cr_expect_lt(clock_mono_us() - start_us, 10 * US_PER_S);
    cr_expect_gt(metric_value(full), 0);
    cr_expect_gt(metric_value(failed), 0);
    cr_expect_eq((int)(metric_value(full) + metric_value(failed)), 5 * MANY);
}

Test(tracer, refuses_an_endpoint_that_is_no_url_and_headers_that_are_none) {
    static const char *const endpoints[] = {"127.0.0.1:4318", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "x"};
    static const char *const headers[] = {"secret", "=secret", "a=", "a=secret,b", "a=secret\r\nb: c"};
    struct err err;
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        const struct tracer_options options = {.endpoint = endpoints[i], .headers = ""};
        cr_expect_not(tracer_check(&options, &err), "%s", endpoints[i]);
        cr_expect(strstr(err.text, "trace.endpoint"), "%s", err.text);
    }
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        const struct tracer_options options = {.endpoint = NOBODY, .headers = headers[i]};
        cr_expect_not(tracer_check(&options, &err), "%s", headers[i]);
        cr_expect(strstr(err.text, "trace.headers"), "%s", err.text);
        cr_expect_not(strstr(err.text, "secret"), "an error does not repeat a secret: %s", err.text);
    }
    const struct tracer_options options = {.endpoint = NOBODY, .headers = "authorization=Bearer a=b, x-team=1,"};
    cr_expect(tracer_check(&options, &err));
}
