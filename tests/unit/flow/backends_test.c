/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/backends.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/metrics.h"
#include "flow/stage.h"

static struct err failure(enum backend backend, const char *text) {
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, backend, "%s", text);
    return err;
}

Test(backends, a_backend_has_failed_as_long_as_a_stage_has_not_resumed) {
    struct outage gate = {0}, reconcile = {0};
    struct err err = failure(BACKEND_REDIS, "redis is gone");
    stage_resumed(&gate, "gate");
    cr_expect_eq(backends_read(BACKEND_REDIS).n_failed, 0);
    stage_interrupted(&gate, "gate", &err);
    stage_interrupted(&gate, "gate", &err);
    stage_interrupted(&reconcile, "reconcile", &err);
    struct backend_state state = backends_read(BACKEND_REDIS);
    cr_expect_eq(state.n_failed, 2);
    cr_expect_str_eq(state.stage, "reconcile");
    cr_expect_str_eq(state.text, "redis is gone");
    cr_expect_gt(state.since_us, 0);
    cr_expect_geq(state.last_us, state.since_us);
    cr_expect_eq(backends_read(BACKEND_POSTGRES).n_failed, 0);
    stage_resumed(&gate, "gate");
    stage_resumed(&gate, "gate");
    cr_expect_eq(backends_read(BACKEND_REDIS).n_failed, 1);
    stage_resumed(&reconcile, "reconcile");
    cr_expect_eq(backends_read(BACKEND_REDIS).n_failed, 0);
    cr_expect_str_eq(backends_read(BACKEND_REDIS).text, "redis is gone", "what it said last stays");
}

Test(backends, an_outage_may_go_on_for_another_reason) {
    struct outage outage = {0};
    struct err postgres = failure(BACKEND_POSTGRES, "a"), kafka = failure(BACKEND_KAFKA, "b"),
               none = failure(BACKEND_NONE, "c");
    stage_interrupted(&outage, "issue", &postgres);
    stage_interrupted(&outage, "issue", &kafka);
    cr_expect_eq(backends_read(BACKEND_POSTGRES).n_failed, 0);
    cr_expect_eq(backends_read(BACKEND_KAFKA).n_failed, 1);
    stage_interrupted(&outage, "issue", &none);
    cr_expect_eq(backends_read(BACKEND_KAFKA).n_failed, 0);
    stage_resumed(&outage, "issue");
    cr_expect_eq(backends_read(BACKEND_KAFKA).n_failed, 0);
}

Test(backends, the_metric_says_how_many_stages_a_backend_has_failed) {
    struct outage outage = {0};
    struct err err = failure(BACKEND_KAFKA, "a");
    struct strbuf text = {0};
    backends_register();
    stage_interrupted(&outage, "relay", &err);
    metrics_render(&text);
    cr_expect_not_null(strstr(text.data, "couponsd_stages_failed{backend=\"kafka\"} 1\n"));
    cr_expect_not_null(strstr(text.data, "couponsd_stages_failed{backend=\"redis\"} 0\n"));
    strbuf_deinit(&text);
}
