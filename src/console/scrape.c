/* SPDX-License-Identifier: Apache-2.0 */
#include "console/scrape.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "console/json.h"

/* A metric's line: NAME{LABELS} VALUE. The texts are not terminated. */
struct line {
    const char *name, *labels;
    size_t name_len, labels_len;
    double value;
};

static bool is(const struct line *line, const char *name) {
    return line->name_len == strlen(name) && memcmp(line->name, name, line->name_len) == 0;
}

/* Copies the label's value, or "". */
static void label(const struct line *line, const char *name, char *ret, size_t size) {
    size_t name_len = strlen(name);
    *ret = '\0';
    for (const char *at = line->labels, *end = at + line->labels_len; at < end;) {
        const char *equals = memchr(at, '=', (size_t)(end - at));
        const char *close = equals && equals + 1 < end ? memchr(equals + 2, '"', (size_t)(end - equals - 2)) : NULL;
        if (!close)
            return;
        size_t len = (size_t)(close - equals - 2);
        if ((size_t)(equals - at) == name_len && memcmp(at, name, name_len) == 0 && len < size) {
            memcpy(ret, equals + 2, len);
            ret[len] = '\0';
            return;
        }
        at = close + 2; /* the comma */
    }
}

static bool has(const struct line *line, const char *name, const char *value) {
    char found[64];
    label(line, name, found, sizeof found);
    return strcmp(found, value) == 0;
}

/* Reads a line that ends at `end`. False: it is a comment. */
static bool parse(const char *text, const char *end, struct line *ret) {
    const char *space = end, *brace = memchr(text, '{', (size_t)(end - text));
    while (space > text && *space != ' ')
        space--;
    if (space == text || *text == '#')
        return false;
    const char *name_end = brace && brace < space ? brace : space;
    *ret = (struct line){
        .name = text,
        .name_len = (size_t)(name_end - text),
        .labels = name_end + (name_end != space),
        .labels_len = name_end == space ? 0 : (size_t)(space - name_end - 2),
        .value = strtod(space + 1, NULL),
    };
    return true;
}

/* --- what is looked for --- */

/* A metric without labels, or whose series are added up. */
struct total {
    const char *metric, *member;
    double value;
};

/* A metric with a member for each value of a label. */
struct group {
    const char *metric, *label, *member;
    struct strbuf json;
};

static void see_answers(const struct line *line, struct scrape_answers *answers) {
    char bound[32];
    if (!is(line, "couponsd_rpc_seconds_bucket") || !has(line, "method", "RequestPublish") ||
        answers->n == SCRAPE_BUCKETS_MAX)
        return;
    label(line, "le", bound, sizeof bound);
    answers->bounds_s[answers->n] = strtod(bound, NULL); /* also +Inf */
    answers->up_to[answers->n++] = (int64_t)line->value;
}

static void see_group(const struct line *line, struct group *group) {
    char value[64];
    if (!is(line, group->metric))
        return;
    label(line, group->label, value, sizeof value);
    if (line->value < 0 || line->value > 0)
        json_number(&group->json, value, line->value);
}

void scrape(struct strbuf *json, struct scrape_answers *ret) {
    struct total totals[] = {
        {"couponsd_rpc_in_flight", "in_flight", 0},
        {"couponsd_accepted_total", "accepted", 0},
        {"couponsd_issued_total", "issued", 0},
        {"couponsd_rejected_total", "rejected", 0},
        {"couponsd_dead_letters_total", "dead_letters", 0},
        {"couponsd_issue_lag_messages", "issue_messages", 0},
        {"couponsd_topic_migration_lanes_left", "migration_lanes", 0},
    };
    struct group groups[] = {
        {"couponsd_refused_total", "reason", "refused", {0}},
        {"couponsd_stage_queue_depth", "stage", "queues", {0}},
        {"couponsd_relay_lag_rows", "stream", "relay_rows", {0}},
        {"couponsd_relay_lag_seconds", "stream", "relay_s", {0}},
    };
    struct strbuf text = {0};
    ret->n = 0;
    metrics_render(&text);
    for (const char *at = text.data, *end; at && (end = strchr(at, '\n')) != NULL; at = end + 1) {
        struct line line;
        if (!parse(at, end, &line))
            continue;
        for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++)
            totals[i].value += is(&line, totals[i].metric) ? line.value : 0;
        for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
            see_group(&line, &groups[i]);
        see_answers(&line, ret);
    }
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++)
        json_int(json, totals[i].member, (int64_t)totals[i].value);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        json_open(json, groups[i].member, '{');
        if (groups[i].json.len)
            strbuf_add(json, groups[i].json.data, groups[i].json.len);
        json_close(json, '}');
        strbuf_deinit(&groups[i].json);
    }
    strbuf_deinit(&text);
}

double scrape_quantile_ms(const struct scrape_answers *before, const struct scrape_answers *now, double quantile) {
    if (now->n == 0 || before->n != now->n)
        return -1;
    int64_t all = now->up_to[now->n - 1] - before->up_to[now->n - 1], below = 0;
    if (all <= 0)
        return -1;
    double wanted = quantile * (double)all, bound_s = 0;
    for (int i = 0; i < now->n; i++) {
        int64_t up_to = now->up_to[i] - before->up_to[i];
        if ((double)up_to >= wanted && up_to > below) {
            if (isinf(now->bounds_s[i]))
                break;
            double part = (wanted - (double)below) / (double)(up_to - below);
            return 1000 * (bound_s + part * (now->bounds_s[i] - bound_s));
        }
        below = up_to;
        if (!isinf(now->bounds_s[i]))
            bound_s = now->bounds_s[i];
    }
    return 1000 * bound_s; /* the greatest bound: it took longer */
}
