/* SPDX-License-Identifier: Apache-2.0 */
#include "top_screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define BOLD        "\033[1m"
#define PLAIN       "\033[0m"
#define BAR_WIDTH   20
#define HEADER_ROWS 5 /* the title, the metrics, an empty line, and the columns */
#define FOOTER_ROWS 1

/* --- looks --- */

void top_look_deinit(struct top_look *look) {
    free(look->coupons);
    *look = (struct top_look){0};
}

static void copy_safely(char *to, size_t size, const char *from) {
    size_t len = 0;
    for (; from[len] && len < size - 1; len++)
        to[len] = (unsigned char)from[len] < ' ' || from[len] == 0x7f ? '?' : from[len];
    while (len > 0 && from[len] && ((unsigned char)to[len - 1] & 0x80)) /* not amid a character */
        len--;
    to[len] = '\0';
}

static const char *status_of(const Coupon__V1__Coupon *coupon) {
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&coupon__v1__coupon__status__descriptor, (int)coupon->status);
    if (value && coupon->status == COUPON__V1__COUPON__STATUS__STATUS_PUBLISHABLE)
        return coupon->accepted >= coupon->quantity ? "sold out" : coupon->available ? "open" : "not open";
    return !value ? "?" : coupon->status == COUPON__V1__COUPON__STATUS__STATUS_PAUSED ? "paused" : "closed";
}

void top_look_add(struct top_look *look, const Coupon__V1__Coupon *coupon) {
    if (look->n == look->capacity) {
        look->capacity = look->capacity ? 2 * look->capacity : 64;
        look->coupons = memory_resize(look->coupons, look->capacity, sizeof *look->coupons);
    }
    struct top_coupon *row = &look->coupons[look->n++];
    *row = (struct top_coupon){
        .id = coupon->id, .quantity = coupon->quantity, .accepted = coupon->accepted, .issued = coupon->issued};
    copy_safely(row->name, sizeof row->name, coupon->name);
    copy_safely(row->status, sizeof row->status, status_of(coupon));
}

/* Finds the value of a label in "name{a="x",b="y"} 3". False: the line has no such label. */
static bool label_of(const char *line, const char *label, char ret[static TOP_LABEL_SIZE]) {
    char wanted[TOP_LABEL_SIZE + 4];
    snprintf(wanted, sizeof wanted, "%s=\"", label);
    const char *at = strstr(line, wanted), *end = at ? strchr(at + strlen(wanted), '"') : NULL;
    if (!end)
        return false;
    snprintf(ret, TOP_LABEL_SIZE, "%.*s", (int)(end - at - (long)strlen(wanted)), at + strlen(wanted));
    return true;
}

static void add_number(struct top_number *list, size_t *n, size_t max, const char *line, const char *label) {
    const char *value = strrchr(line, ' ');
    if (*n < max && value && label_of(line, label, list[*n].label))
        list[(*n)++].value = strtod(value, NULL);
}

static void read_line(struct top_metrics *metrics, const char *line) {
    const char *value = strrchr(line, ' ');
    size_t len = strcspn(line, "{ ");
    if (!value || line[0] == '#')
        return;
#define IS(name) (len == strlen(name) && memcmp(line, name, len) == 0)
    if (IS("couponsd_refused_total"))
        add_number(metrics->refused, &metrics->n_refused, TOP_REASONS_MAX, line, "reason");
    else if (IS("couponsd_stage_queue_depth"))
        add_number(metrics->queues, &metrics->n_queues, TOP_STAGES_MAX, line, "stage");
    else if (IS("couponsd_relay_lag_rows"))
        metrics->relay_lag += strtod(value, NULL);
    else if (IS("couponsd_issue_lag_messages"))
        metrics->issue_lag += strtod(value, NULL);
    else if (IS("couponsd_rpc_in_flight"))
        metrics->in_flight += strtod(value, NULL);
#undef IS
}

void top_metrics_read(struct top_metrics *metrics, const char *text) {
    char line[400];
    *metrics = (struct top_metrics){.n_instances = 1};
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        read_line(metrics, line);
    }
}

static void add_numbers(struct top_number *all, size_t *n, size_t max, const struct top_number *one, size_t n_one) {
    for (size_t i = 0; i < n_one; i++) {
        size_t at = 0;
        while (at < *n && strcmp(all[at].label, one[i].label) != 0)
            at++;
        if (at < *n)
            all[at].value += one[i].value;
        else if (*n < max)
            all[(*n)++] = one[i];
    }
}

void top_metrics_add(struct top_metrics *all, const struct top_metrics *one) {
    all->n_instances += one->n_instances;
    add_numbers(all->refused, &all->n_refused, TOP_REASONS_MAX, one->refused, one->n_refused);
    add_numbers(all->queues, &all->n_queues, TOP_STAGES_MAX, one->queues, one->n_queues);
    all->relay_lag = one->relay_lag > all->relay_lag ? one->relay_lag : all->relay_lag;
    all->issue_lag += one->issue_lag;
    all->in_flight += one->in_flight;
}

static int by_id(const void *a, const void *b) {
    const struct top_coupon *one = a, *other = b;
    return (one->id > other->id) - (one->id < other->id);
}

static int64_t left_of(const struct top_coupon *coupon) {
    return coupon->quantity > coupon->accepted ? coupon->quantity - coupon->accepted : 0;
}

static int by_left(const void *a, const void *b) {
    int64_t one = left_of(a), other = left_of(b);
    return one != other ? (one > other) - (one < other) : by_id(a, b);
}

static int by_rate(const void *a, const void *b) {
    const struct top_coupon *one = a, *other = b;
    double more = other->accepted_per_s + other->issued_per_s - one->accepted_per_s - one->issued_per_s;
    return more > 0 ? 1 : more < 0 ? -1 : by_id(a, b);
}

void top_look_compare(struct top_look *look, const struct top_look *before) {
    double seconds = (double)(look->at_us - before->at_us) / US_PER_S;
    if (seconds <= 0)
        return;
    if (before->n > 0)
        qsort(before->coupons, before->n, sizeof *before->coupons, by_id);
    for (size_t i = 0; i < look->n && before->n > 0; i++) {
        struct top_coupon *row = &look->coupons[i];
        const struct top_coupon *old = bsearch(row, before->coupons, before->n, sizeof *old, by_id);
        row->accepted_per_s = old ? (double)(row->accepted - old->accepted) / seconds : 0;
        row->issued_per_s = old ? (double)(row->issued - old->issued) / seconds : 0;
    }
    if (look->metrics.n_instances != before->metrics.n_instances)
        return;
    for (size_t i = 0; i < look->metrics.n_refused; i++)
        for (size_t j = 0; j < before->metrics.n_refused; j++) {
            struct top_number *now = &look->metrics.refused[i];
            const struct top_number *then = &before->metrics.refused[j];
            if (strcmp(now->label, then->label) == 0 && now->value > then->value)
                now->per_s = (now->value - then->value) / seconds;
        }
}

void top_look_sort(struct top_look *look, enum top_order order) {
    static int (*const orders[TOP_ORDERS])(const void *, const void *) = {
        [TOP_BY_RATE] = by_rate, [TOP_BY_LEFT] = by_left, [TOP_BY_ID] = by_id};
    if (look->n > 0)
        qsort(look->coupons, look->n, sizeof *look->coupons, orders[order]);
}

/* --- the screen --- */

size_t top_room(const struct top_look *look, const struct top_view *view) {
    int room = view->rows - HEADER_ROWS - FOOTER_ROWS;
    return view->rows == 0 ? look->n : room > 1 ? (size_t)room : 1;
}

/* Ends a line that began at `from`, and cuts it at the width. Names may have characters of several bytes. */
static void end_line(struct strbuf *out, size_t from, const struct top_view *view) {
    int columns = 0;
    for (size_t at = from; at < out->len; at++) {
        columns += ((unsigned char)out->data[at] & 0xc0) != 0x80;
        if (columns > view->width) {
            out->len = at;
            break;
        }
    }
    strbuf_puts(out, "\n");
}

static void put_line(struct strbuf *out, const struct top_view *view, const char *text, bool is_bold) {
    if (is_bold && view->has_colors)
        strbuf_puts(out, BOLD);
    strbuf_printf(out, "%.*s", view->width, text);
    strbuf_puts(out, is_bold && view->has_colors ? PLAIN "\n" : "\n");
}

static void put_metrics(struct strbuf *out, const struct top_look *look, const struct top_view *view) {
    const struct top_metrics *metrics = &look->metrics;
    size_t from = out->len;
    if (metrics->n_instances == 0) {
        put_line(out, view,
                 view->n_asked > 0 ? "refusals, queues and lag: the addresses of --metrics do not answer"
                                   : "refusals, queues and lag: --metrics HOST:PORT of couponsd's HTTP side shows them",
                 false);
        strbuf_puts(out, "\n");
        return;
    }
    strbuf_puts(out, "refused/s");
    for (size_t i = 0; i < metrics->n_refused; i++)
        if (metrics->refused[i].per_s > 0)
            strbuf_printf(out, "  %s %.0f", metrics->refused[i].label, metrics->refused[i].per_s);
    end_line(out, from, view);
    from = out->len;
    if (view->n_asked > 1)
        strbuf_printf(out, "instances %zu of %zu  ", metrics->n_instances, view->n_asked);
    strbuf_printf(out, "in flight %.0f  lag: relay %.0f, issue %.0f  queues", metrics->in_flight, metrics->relay_lag,
                  metrics->issue_lag);
    for (size_t i = 0; i < metrics->n_queues; i++)
        if (metrics->queues[i].value > 0)
            strbuf_printf(out, "  %s %.0f", metrics->queues[i].label, metrics->queues[i].value);
    end_line(out, from, view);
}

static void put_coupon(struct strbuf *out, const struct top_coupon *row, const struct top_view *view) {
    char bar[BAR_WIDTH + 1];
    size_t from = out->len;
    int full = row->quantity > 0 ? (int)((double)left_of(row) / (double)row->quantity * BAR_WIDTH + 0.5) : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    strbuf_printf(out, "%19lld %-9s %10lld %s %9.0f %9.0f %10lld  %s", (long long)row->id, row->status,
                  (long long)left_of(row), bar, row->accepted_per_s, row->issued_per_s,
                  (long long)(row->accepted - row->issued), row->name);
    end_line(out, from, view);
}

void top_render(struct strbuf *out, const struct top_look *look, const struct top_view *view) {
    static const char *const orders[TOP_ORDERS] = {
        [TOP_BY_RATE] = "by rate", [TOP_BY_LEFT] = "by what is left", [TOP_BY_ID] = "by id"};
    char text[400];
    double accepted = 0, issued = 0;
    for (size_t i = 0; i < look->n; i++) {
        accepted += look->coupons[i].accepted_per_s;
        issued += look->coupons[i].issued_per_s;
    }
    snprintf(text, sizeof text, "couponsd at %s: %zu coupons, %.0f accepted/s, %.0f issued/s%s%s", view->server,
             look->n, accepted, issued, view->error ? "; NO ANSWER: " : "", view->error ? view->error : "");
    put_line(out, view, text, true);
    put_metrics(out, look, view);
    strbuf_puts(out, "\n");
    snprintf(text, sizeof text, "%19s %-9s %10s %-20s %9s %9s %10s  %s", "ID", "STATE", "LEFT", "", "ACCEPT/S",
             "ISSUE/S", "TO ISSUE", "NAME");
    put_line(out, view, text, true);
    size_t room = top_room(look, view);
    for (size_t i = view->first; i < look->n && i - view->first < room; i++)
        put_coupon(out, &look->coupons[i], view);
    if (look->n == 0)
        put_line(out, view, "there are no coupons: couponctl create --quantity N makes one", false);
    if (view->rows > 0) {
        snprintf(text, sizeof text, "q quit  s sort (%s)  arrows, page up and down scroll", orders[view->order]);
        put_line(out, view, text, false);
    }
}
