/* SPDX-License-Identifier: Apache-2.0 */
#include "console/scrape.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

static const double bounds[] = {0.001, 0.01, 0.1};

static struct metric *answers(const char *method) {
    char labels[60];
    snprintf(labels, sizeof labels, "service=\"s\",method=\"%s\"", method);
    return metrics_histogram("couponsd_rpc_seconds", "x", labels, bounds, 3);
}

Test(scrape, series_are_added_up_or_told_apart) {
    struct strbuf json = {0};
    struct scrape_answers found;
    metric_add(metrics_counter("couponsd_accepted_total", "x", ""), 5);
    metric_add(metrics_gauge("couponsd_issue_lag_messages", "x", "stream=\"a\""), 2);
    metric_add(metrics_gauge("couponsd_issue_lag_messages", "x", "stream=\"b\""), 3);
    metric_add(metrics_counter("couponsd_refused_total", "x", "reason=\"SOLD_OUT\""), 7);
    metric_add(metrics_counter("couponsd_refused_total", "x", "reason=\"PAUSED\""), 0);
    metric_set(metrics_gauge("couponsd_stage_queue_depth", "x", "lane=\"1\",stage=\"admit\""), 4);
    metric_set(metrics_gauge("couponsd_relay_lag_seconds", "x", "stream=\"requested\""), 0.5);
    scrape(&json, &found);
    cr_expect_str_eq(json.data, "\"in_flight\":0,\"accepted\":5,\"issued\":0,\"rejected\":0,\"dead_letters\":0,"
                                "\"issue_messages\":5,\"migration_lanes\":0,\"refused\":{\"SOLD_OUT\":7},"
                                "\"queues\":{\"admit\":4},\"relay_rows\":{},\"relay_s\":{\"requested\":0.5},");
    cr_expect_eq(found.n, 0);
    strbuf_deinit(&json);
}

Test(scrape, quantiles_are_those_of_the_answers_in_between) {
    struct strbuf json = {0};
    struct scrape_answers before, now;
    metric_observe_n(answers("RequestPublish"), 0.05, 1000);
    metric_observe_n(answers("GetStatus"), 0.05, 1000);
    scrape(&json, &before);
    cr_expect_eq(before.n, 4);
    cr_expect_lt(scrape_quantile_ms(&before, &before, 0.5), 0, "none");
    metric_observe_n(answers("RequestPublish"), 0.0005, 90);
    metric_observe_n(answers("RequestPublish"), 0.005, 9);
    metric_observe_n(answers("RequestPublish"), 5, 1);
    scrape(&json, &now);
    cr_expect_float_eq(scrape_quantile_ms(&before, &now, 0.45), 0.5, 1e-6);
    cr_expect_float_eq(scrape_quantile_ms(&before, &now, 0.99), 10, 1e-6);
    cr_expect_float_eq(scrape_quantile_ms(&before, &now, 1), 100, 1e-6, "it took longer than the greatest bound");
    strbuf_deinit(&json);
}

Test(scrape, a_first_sample_has_no_quantile) {
    struct strbuf json = {0};
    struct scrape_answers none = {0}, now;
    metric_observe_n(answers("RequestPublish"), 0.05, 1000);
    scrape(&json, &now);
    cr_expect_lt(scrape_quantile_ms(&none, &now, 0.5), 0);
    strbuf_deinit(&json);
}
