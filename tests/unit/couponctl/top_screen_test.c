/* SPDX-License-Identifier: Apache-2.0 */
#include "top_screen.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "model/reason.h"

static void add(struct top_look *look, int64_t id, int64_t accepted, int64_t issued) {
    Coupon__V1__Coupon coupon = COUPON__V1__COUPON__INIT;
    coupon.id = id;
    coupon.quantity = 100;
    coupon.accepted = accepted;
    coupon.issued = issued;
    coupon.status = COUPON__V1__COUPON__STATUS__STATUS_PUBLISHABLE;
    coupon.available = accepted < 100;
    coupon.name = "n\033[2Joon";
    top_look_add(look, &coupon);
}

static const struct top_view plain = {.server = "here", .width = 160};

static char *rendered(const struct top_look *look, const struct top_view *view) {
    struct strbuf out = {0};
    top_render(&out, look, view);
    return out.data;
}

Test(top_screen, rates_are_those_since_the_earlier_look) {
    struct top_look before = {.at_us = 1000000}, now = {.at_us = 3000000};
    add(&before, 7, 10, 8);
    add(&before, 9, 0, 0);
    add(&now, 9, 100, 60);
    add(&now, 7, 10, 10);
    add(&now, 8, 5, 5);
    top_look_compare(&now, &before);
    cr_expect_float_eq(now.coupons[0].accepted_per_s, 50, 0.001);
    cr_expect_float_eq(now.coupons[0].issued_per_s, 30, 0.001);
    cr_expect_float_eq(now.coupons[1].issued_per_s, 1, 0.001);
    cr_expect_eq(now.coupons[2].accepted_per_s, 0, "it is new");
    top_look_sort(&now, TOP_BY_RATE);
    cr_expect_eq(now.coupons[0].id, 9);
    top_look_sort(&now, TOP_BY_ID);
    cr_expect_eq(now.coupons[0].id, 7);
    top_look_sort(&now, TOP_BY_LEFT);
    cr_expect_eq(now.coupons[0].id, 9);
    char *text = rendered(&now, &plain);
    cr_expect(strstr(text, "3 coupons, 50 accepted/s, 31 issued/s") != NULL, "%s", text);
    cr_expect(strstr(text, "sold out           0 ....................") != NULL, "%s", text);
    cr_expect(strstr(text, "n?[2Joon") != NULL && !strchr(text, '\033'), "a name must not control the terminal");
    free(text);
    top_look_deinit(&before);
    top_look_deinit(&now);
}

Test(top_screen, metrics_are_read_from_prometheus_text) {
    struct top_look before = {.at_us = 0}, now = {.at_us = US_PER_S};
    top_metrics_read(&before.metrics, "couponsd_refused_total{reason=\"SOLD_OUT\"} 10\n");
    top_metrics_read(&now.metrics, "# HELP couponsd_refused_total Calls.\n"
                                   "couponsd_refused_total{reason=\"SOLD_OUT\"} 110\n"
                                   "couponsd_refused_total{reason=\"PAUSED\"} 0\n"
                                   "couponsd_stage_queue_depth{stage=\"admit\"} 12\n"
                                   "couponsd_relay_lag_rows{stream=\"requested\"} 3\n"
                                   "couponsd_relay_lag_rows{stream=\"published\"} 4\n"
                                   "couponsd_issue_lag_messages 5\nnonsense\n{\n");
    top_look_compare(&now, &before);
    char *text = rendered(&now, &plain);
    cr_expect(strstr(text, "refused/s  SOLD_OUT 100\n") != NULL, "%s", text);
    cr_expect(strstr(text, "lag: relay 7, issue 5  queues  admit 12\n") != NULL, "%s", text);
    cr_expect(strstr(text, "couponctl create") != NULL, "%s", text);
    free(text);
}

static void look_at(struct top_look *look, const char *one, const char *other) {
    struct top_metrics metrics;
    for (const char *const *each = (const char *const[]){one, other, NULL}; *each; each++) {
        top_metrics_read(&metrics, *each);
        top_metrics_add(&look->metrics, &metrics);
    }
}

Test(top_screen, instances_are_counted_together_except_the_lag_that_all_of_them_report) {
    static const char one[] = "couponsd_refused_total{reason=\"PAUSED\"} 10\n"
                              "couponsd_stage_queue_depth{stage=\"admit\"} 2\n"
                              "couponsd_relay_lag_rows{stream=\"requested\"} 7\n"
                              "couponsd_rpc_in_flight 1\ncouponsd_issue_lag_messages 5\n";
    static const char later[] = "couponsd_refused_total{reason=\"PAUSED\"} 30\n"
                                "couponsd_stage_queue_depth{stage=\"admit\"} 4\n"
                                "couponsd_relay_lag_rows{stream=\"requested\"} 9\n"
                                "couponsd_rpc_in_flight 1\ncouponsd_issue_lag_messages 6\n";
    const struct top_view view = {.server = "here", .width = 160, .n_asked = 2};
    struct top_look before = {.at_us = 0}, now = {.at_us = US_PER_S};
    look_at(&before, one, one);
    look_at(&now, one, later);
    top_look_compare(&now, &before);
    char *text = rendered(&now, &view);
    cr_expect(strstr(text, "refused/s  PAUSED 20\n") != NULL, "%s", text);
    cr_expect(strstr(text, "instances 2 of 2  in flight 2  lag: relay 9, issue 11  queues  admit 6\n") != NULL, "%s",
              text);
    free(text);

    struct top_look alone = {.at_us = 0}, again = {.at_us = US_PER_S};
    look_at(&alone, one, NULL);
    look_at(&again, one, one);
    top_look_compare(&again, &alone);
    text = rendered(&again, &view);
    cr_expect(strstr(text, "PAUSED") == NULL, "an instance that has come back must not look like a flood: %s", text);
    free(text);
}

Test(top_screen, every_reason_is_shown) {
    struct top_look before = {.at_us = 0}, now = {.at_us = US_PER_S};
    struct strbuf earlier = {0}, later = {0};
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++) {
        const char *name = reason_info((enum reason)reason)->name;
        strbuf_printf(&earlier, "couponsd_refused_total{reason=\"%s\"} 0\n", name);
        strbuf_printf(&later, "couponsd_refused_total{reason=\"%s\"} 3\n", name);
    }
    look_at(&before, earlier.data, NULL);
    look_at(&now, later.data, NULL);
    top_look_compare(&now, &before);
    char *text = rendered(&now, &(struct top_view){.server = "here", .width = 2000});
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++)
        cr_expect(strstr(text, reason_info((enum reason)reason)->name) != NULL, "%s", text);
    free(text);
    strbuf_deinit(&earlier);
    strbuf_deinit(&later);
}

Test(top_screen, screen_fits_the_terminal) {
    struct top_look look = {0};
    for (int i = 1; i <= 100; i++)
        add(&look, i, i, i);
    for (int rows = 1; rows < 40; rows++)
        for (int width = 1; width < 130; width += 7) {
            const struct top_view view = {
                .server = "here", .rows = rows, .width = width, .first = 50, .error = "b\xc3\xbc bad"};
            char *text = rendered(&look, &view);
            int lines = 0, columns = 0;
            for (const char *at = text; *at; at++) {
                columns = *at == '\n' ? 0 : columns + (((unsigned char)*at & 0xc0) != 0x80);
                lines += *at == '\n';
                cr_assert_leq(columns, width);
            }
            cr_assert_leq(lines, rows > 7 ? rows : 7);
            cr_assert_eq(top_room(&look, &view), (size_t)(rows > 7 ? rows - 6 : 1));
            free(text);
        }
    top_look_deinit(&look);
}
