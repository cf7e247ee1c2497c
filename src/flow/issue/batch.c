/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of issue; see batch.h. A batch runs prepare, issuance_read, take, find_decided, decide and issuance_write,
 * in this order.
 *
 *   place   a partition of a topic
 *   text    a decoded event, whose strings point into its message */
#include "flow/issue/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/ints.h"
#include "base/murmur2.h"
#include "flow/issue/issue_spans.h"
#include "model/event.h"
#include "model/issue_decide.h"
#include "store/sqlstate.h"

/* The next offset of a place that has no row in Postgres, because its topic was deleted on command. Every message of
 * the place then counts as a gap. Issue repositions, and reading the stored offsets creates a new row. */
#define OFFSET_UNKNOWN (-1)

/* The messages of a batch, and how to decide on them. */
struct input {
    const struct kafka_message *messages;
    size_t n;
    const struct accepted_gap *accepted_gap;
    bool careful;           /* look up in the tables whether tickets are decided, instead of using the counters */
    const char *force_dead; /* not NULL: all messages become dead letters, with this reason */
};

/* The decoded messages: arrays with one element per message. */
struct decoded {
    struct event *texts;
    const char **dead_reason; /* not NULL: the value can't be decoded */
};

/* The messages to decide on, i.e. those that continue the stored offsets: arrays of n elements. */
struct taken {
    size_t n;
    const struct kafka_message **messages;
    struct issuance_event *events;
    const struct event **texts;
    size_t *coupon_of;
    const char **dead_reason; /* not NULL: becomes a dead letter without a decision */
};

static int by_id(const void *a, const void *b) {
    const struct coupon *x = a, *y = b;
    return compare_int64(&x->id, &y->id);
}

static int by_place(const void *a, const void *b) {
    return kafka_place_compare(a, b);
}

/* Decodes the messages, and fills the batch's places, coupons and events, with one event per message, decoded or
 * not. */
static void prepare(struct arena *arena, const struct input *input, struct issuance_batch *batch,
                    struct decoded *decoded) {
    const struct kafka_message *messages = input->messages;
    size_t n = input->n, n_coupons = 0, n_places = 0;
    *decoded = (struct decoded){
        .texts = ARENA_ARRAY(arena, struct event, n),
        .dead_reason = ARENA_ARRAY(arena, const char *, n),
    };
    *batch = (struct issuance_batch){
        .places = ARENA_ARRAY(arena, struct kafka_place, n),
        .next_offset = ARENA_ARRAY(arena, int64_t, n),
        .coupons = ARENA_ARRAY(arena, struct coupon, n),
        .events = ARENA_ARRAY(arena, struct issuance_event, n),
        .n_events = n,
    };
    struct kafka_place *places = ARENA_ARRAY(arena, struct kafka_place, n);
    struct coupon *coupons = ARENA_ARRAY(arena, struct coupon, n);
    for (size_t i = 0; i < n; i++) {
        struct event *text = &decoded->texts[i];
        if (i == 0 || by_place(&messages[i].place, &messages[i - 1].place) != 0)
            places[n_places++] = messages[i].place;
        decoded->dead_reason[i] = NULL;
        batch->events[i] = (struct issuance_event){0};
        if (event_read(STREAM_REQUESTED, messages[i].value, messages[i].value_len, text)) {
            batch->events[i].coupon_id = text->coupon_id;
            batch->events[i].user_id = text->user_id;
            batch->events[i].ticket = text->ticket;
            if (n_coupons == 0 || coupons[n_coupons - 1].id != text->coupon_id)
                coupons[n_coupons++] = (struct coupon){.id = text->coupon_id};
        } else {
            *text = (struct event){0};
            decoded->dead_reason[i] = "the value can't be decoded as coupon.v1.PublishRequested";
        }
    }
    qsort(places, n_places, sizeof *places, by_place);
    for (size_t i = 0; i < n_places; i++)
        if (i == 0 || by_place(&places[i], &places[i - 1]) != 0)
            batch->places[batch->n_places++] = places[i];
    for (size_t i = 0; i < batch->n_places; i++)
        batch->next_offset[i] = OFFSET_UNKNOWN;
    qsort(coupons, n_coupons, sizeof *coupons, by_id);
    for (size_t i = 0; i < n_coupons; i++)
        if (i == 0 || coupons[i].id != coupons[i - 1].id)
            batch->coupons[batch->n_coupons++] = coupons[i];
}

static size_t index_of_place(const struct issuance_batch *batch, const struct kafka_place *place) {
    const struct kafka_place *found = bsearch(place, batch->places, batch->n_places, sizeof *place, by_place);
    return (size_t)(found - batch->places);
}

static size_t index_of_coupon(const struct issuance_batch *batch, int64_t id) {
    const struct coupon key = {.id = id};
    const struct coupon *found = bsearch(&key, batch->coupons, batch->n_coupons, sizeof key, by_id);
    return (size_t)(found - batch->coupons);
}

/* Takes the messages that continue the stored offsets, and moves batch->next_offset past them. Skips messages below the
 * stored offset, and all messages of a place after a gap. */
static void take(struct arena *arena, struct issuance_batch *batch, const struct input *input,
                 const struct decoded *decoded, struct taken *taken, struct issue_batch_result *result) {
    const struct kafka_message *messages = input->messages;
    const struct accepted_gap *accepted_gap = input->accepted_gap;
    size_t n = input->n;
    *taken = (struct taken){
        .messages = ARENA_ARRAY(arena, const struct kafka_message *, n),
        .events = ARENA_ARRAY(arena, struct issuance_event, n),
        .texts = ARENA_ARRAY(arena, const struct event *, n),
        .coupon_of = ARENA_ARRAY(arena, size_t, n),
        .dead_reason = ARENA_ARRAY(arena, const char *, n),
    };
    for (size_t i = 0; i < n; i++) {
        int64_t *next = &batch->next_offset[index_of_place(batch, &messages[i].place)];
        if (messages[i].offset < *next)
            continue;
        bool is_accepted =
            *next == accepted_gap->next_offset && by_place(&messages[i].place, &accepted_gap->place) == 0;
        if (messages[i].offset - messages[i].hole > *next && !is_accepted) {
            if (!result->gap) {
                result->gap = true;
                result->gap_place = messages[i].place;
                result->gap_expected = *next;
                result->gap_found = messages[i].offset;
            }
            continue;
        }
        *next = messages[i].offset + 1;
        size_t at = taken->n++;
        taken->messages[at] = &messages[i];
        taken->events[at] = batch->events[i];
        taken->texts[at] = &decoded->texts[i];
        taken->dead_reason[at] = decoded->dead_reason[i];
        taken->coupon_of[at] = decoded->dead_reason[i] ? 0 : index_of_coupon(batch, batch->events[i].coupon_id);
    }
}

/* --- earlier decisions --- */

/* Fills is_decided from the coupon's counters, or from the tables if the counters don't show it. If `careful`, always
 * uses the tables. */
static bool find_decided(const struct issue_means *means, const struct issuance_batch *batch, struct taken *taken,
                         bool careful, struct err *err) {
    struct issuance_event **unsure = ARENA_ARRAY(means->arena, struct issuance_event *, taken->n);
    size_t n_unsure = 0;
    for (size_t i = 0; i < taken->n; i++) {
        if (taken->dead_reason[i])
            continue;
        struct issuance_event *event = &taken->events[i];
        enum issue_before before = issue_before(&batch->coupons[taken->coupon_of[i]], event->ticket);
        if (careful || before == ISSUE_UNSURE)
            unsure[n_unsure++] = event;
        else
            event->is_decided = before == ISSUE_BEFORE;
    }
    return n_unsure == 0 || issuance_look_up(means->pg, means->arena, batch, unsure, n_unsure, err);
}

/* --- decisions and their rows --- */

struct writes {
    struct issuance_rows rows;
    struct outbox_batch outbox;
    struct issue_spans spans;
};

static void writes_init(struct writes *writes, struct arena *arena, struct issuance_batch *batch, size_t n) {
    writes->rows = (struct issuance_rows){
        .issued_coupon_id = ARENA_ARRAY(arena, int64_t, n),
        .issued_ticket = ARENA_ARRAY(arena, int64_t, n),
        .rejected_coupon_id = ARENA_ARRAY(arena, int64_t, n),
        .rejected_ticket = ARENA_ARRAY(arena, int64_t, n),
        .rejected_reason = ARENA_ARRAY(arena, int32_t, n),
    };
    dead_letters_init(&writes->rows.dead, arena, n);
    outbox_batch_init(&writes->outbox, arena, &batch->heads);
}

/* `traceparent` is of the event to come; len 0: none. */
static void write_issued(struct writes *writes, const struct issuance_batch *batch, int lanes,
                         const struct issuance_event *ledger, const struct event *text, struct pg_bytes traceparent) {
    struct issuance_rows *rows = &writes->rows;
    size_t at = rows->n_issued++;
    rows->issued_coupon_id[at] = ledger->coupon_id;
    rows->issued_ticket[at] = ledger->ticket;
    bool has_state = traceparent.len && tracestate_is_fine(text->tracestate, text->tracestate_len);
    const struct event event = {
        .coupon_id = ledger->coupon_id,
        .user_id = ledger->user_id,
        .ticket = ledger->ticket,
        .request_id = ledger->request_id,
        .request_id_len = ledger->request_id_len,
        .accept_us = ledger->accept_us,
        .issue_us = batch->now_us,
        .traceparent = traceparent.data,
        .traceparent_len = traceparent.len,
        .tracestate = text->tracestate,
        .tracestate_len = has_state ? text->tracestate_len : 0,
    };
    uint8_t bytes[EVENT_MAX];
    const struct outbox_event out = {
        .coupon_id = event.coupon_id,
        .ticket = event.ticket,
        .payload = {bytes, event_write(STREAM_PUBLISHED, &event, bytes)},
        .traceparent = traceparent,
    };
    outbox_put(&writes->outbox, murmur2_slot_of_id(out.coupon_id, lanes), &out);
}

static void decide(const struct issue_means *means, struct issuance_batch *batch, const struct taken *taken,
                   const char *force_dead, struct writes *writes, struct issue_batch_result *result) {
    struct arena *arena = means->arena;
    struct issue_answer *answers = ARENA_ARRAY(arena, struct issue_answer, taken->n);
    if (force_dead || batch->n_coupons == 0)
        for (size_t i = 0; i < taken->n; i++)
            answers[i] = (struct issue_answer){.verdict = ISSUE_DEAD, .dead_reason = force_dead};
    else
        issue_decide(arena, batch->coupons, taken->events, taken->coupon_of, taken->n, answers);
    for (size_t i = 0; i < taken->n; i++) {
        const struct issue_answer *answer = &answers[i];
        struct issue_span span = issue_spans_begin(&writes->spans, taken->messages[i], taken->texts[i]);
        if (taken->dead_reason[i] || answer->verdict == ISSUE_DEAD) {
            const char *why = taken->dead_reason[i] ? taken->dead_reason[i] : answer->dead_reason;
            dead_letters_put(&writes->rows.dead, taken->messages[i], taken->events[i].coupon_id, why);
            issue_span_end(span, "dead_letter", why);
        } else if (answer->verdict == ISSUE_ISSUED) {
            write_issued(writes, batch, means->lanes, &taken->events[i], taken->texts[i], span.traceparent);
            issue_span_end(span, "issued", NULL);
        } else if (answer->verdict == ISSUE_REJECTED) {
            size_t at = writes->rows.n_rejected++;
            writes->rows.rejected_coupon_id[at] = taken->events[i].coupon_id;
            writes->rows.rejected_ticket[at] = taken->events[i].ticket;
            writes->rows.rejected_reason[at] = (int32_t)answer->reject_reason;
            issue_span_end(span, "rejected", NULL);
        } else {
            result->duplicates++;
            issue_span_end(span, "duplicate", NULL);
        }
    }
}

/* Runs one transaction. */
static bool transact(const struct issue_means *means, const struct input *input, struct issue_batch_result *ret,
                     struct err *err) {
    struct pg *pg = means->pg;
    struct arena *arena = means->arena;
    struct issuance_batch batch;
    struct decoded decoded;
    struct taken taken;
    struct writes writes;
    struct issue_batch_result result = {0};
    issue_spans_init(&writes.spans, means->tracer, arena, input->n);
    prepare(arena, input, &batch, &decoded);
    batch.cache = means->cache;
    if (!issuance_read(pg, arena, means->lanes, &batch, err))
        return false;
    take(arena, &batch, input, &decoded, &taken, &result);
    if (!input->force_dead && !find_decided(means, &batch, &taken, input->careful, err))
        return false;
    writes_init(&writes, arena, &batch, taken.n);
    decide(means, &batch, &taken, input->force_dead, &writes, &result);
    if (taken.n == 0)
        issuance_abandon(pg, &batch);
    else if (!issuance_write(pg, arena, &batch, &writes.rows, &writes.outbox, err))
        return false;
    issue_spans_push(&writes.spans);
    result.issued = writes.rows.n_issued;
    result.rejected = writes.rows.n_rejected;
    result.dead = writes.rows.dead.n;
    result.n_places = batch.n_places;
    result.places = batch.places;
    result.next_offset = batch.next_offset;
    *ret = result;
    return true;
}

/* Returns Postgres's message with all bytes that are not printable ASCII replaced by '?'. The message may have been cut
 * within a character, and must be valid as a text in Postgres. */
static char *plain(struct arena *arena, const char *text) {
    char *copy = arena_strdup(arena, text);
    for (char *at = copy; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    return copy;
}

/* Returns false if no message can be at fault, e.g. if the role lacks a privilege or a table does not exist. All
 * messages would then become dead letters. */
static bool blames_a_row(const struct err *cause) {
    return sqlstate_kind(cause->sqlstate) == SQLSTATE_PERMANENT;
}

/* Finds the message that Postgres refuses, by halving the batch, and makes it a dead letter with Postgres's message. */
static bool isolate(const struct issue_means *means, const struct input *input, const char *why,
                    struct issue_batch_result *ret, struct err *err) {
    if (input->n == 1) {
        struct input alone = *input;
        struct err cause;
        alone.careful = true;
        if (transact(means, &alone, ret, &cause))
            return true;
        if (!blames_a_row(&cause) || !pg_is_connected(means->pg)) {
            *err = cause;
            return false;
        }
        alone.force_dead = plain(means->arena, why);
        return transact(means, &alone, ret, err);
    }
    struct issue_batch_result first, second;
    size_t half = input->n / 2;
    if (!issue_batch_run(means, input->messages, half, input->accepted_gap, &first, err) ||
        !issue_batch_run(means, input->messages + half, input->n - half, input->accepted_gap, &second, err))
        return false;
    /* The second half has the newer offsets. A partition that occurs only in the first half is committed with a
     * later batch, or read from Postgres at the next assignment. */
    *ret = second;
    ret->issued += first.issued;
    ret->rejected += first.rejected;
    ret->dead += first.dead;
    ret->duplicates += first.duplicates;
    if (first.gap && !second.gap) {
        ret->gap = true;
        ret->gap_place = first.gap_place;
        ret->gap_expected = first.gap_expected;
        ret->gap_found = first.gap_found;
    }
    return true;
}

bool issue_batch_run(const struct issue_means *means, const struct kafka_message *messages, size_t n,
                     const struct accepted_gap *accepted_gap, struct issue_batch_result *ret, struct err *err) {
    const struct input input = {.messages = messages, .n = n, .accepted_gap = accepted_gap};
    struct err cause;
    if (transact(means, &input, ret, &cause))
        return true;
    if (blames_a_row(&cause) && pg_is_connected(means->pg))
        return isolate(means, &input, cause.text, ret, err);
    *err = cause;
    return false;
}
