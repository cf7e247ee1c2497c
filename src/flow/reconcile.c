/* SPDX-License-Identifier: Apache-2.0 */
/* The reconciler; see reconcile.h.
 *
 * One thread with one connection does all the work. The connection is a cold one, since its queries scan. A table by
 * coupon id remembers the counters of the last sweep, so that only coupons at rest are audited, and only once. */
#include "flow/reconcile.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/murmur2.h"
#include "base/pair_set.h"
#include "base/ticker.h"
#include "flow/gate/coupon_memory.h"
#include "flow/relay.h"
#include "flow/stage.h"
#include "model/event.h"
#include "store/audit.h"
#include "store/coupons.h"
#include "store/dead_letters.h"
#include "store/flags.h"
#include "store/lookup.h"

#define PAGE 1000
/* Pages of a coupon's unissued tickets that one sweep works on. The next sweep continues. */
#define RESEND_PAGES 20
/* A coupon with more ledger rows is not audited: the scan would slow down other work. */
#define AUDIT_ROWS_MAX 2000000
/* The sweeping process holds a lock on its connection. If it is silent for IDLE_INTERVALS intervals, and at least
 * IDLE_MIN_MS, Postgres ends the connection and another process sweeps. */
#define IDLE_INTERVALS 3
#define IDLE_MIN_MS    4000
/* How much time of a sweep audits may take. An audit that has begun is finished. */
#define AUDIT_BUDGET_US (20 * US_PER_MS)

/* The first size of the table of coupons; a power of two. */
#define SEEN_MIN 256

struct seen {
    int64_t coupon_id; /* 0: a free slot */
    int64_t accepted, issued, rejected;
    bool audited;
    /* Tickets that stay unissued. Times are monotonic. */
    int64_t progress_us; /* when a ticket was last seen to be issued or rejected */
    int64_t decided_to;  /* all tickets up to this one are issued or rejected */
    int64_t check_to;    /* the tickets up to this one were accepted at check_us; 0: no round is due */
    int64_t check_us;
    int64_t at;        /* where the round continues */
    bool may_resend;   /* Kafka had everything that earlier rounds had resent when the round began */
    int64_t resent_id; /* the outbox id of the last event resent; 0: none */
};

/* A stream whose outbox could not rotate, since another transaction holds the segment to truncate. */
struct locked_outbox {
    int64_t since_us;    /* monotonic; 0: not locked */
    int64_t next_try_us; /* monotonic */
    struct metric *seconds;
};

struct reconcile {
    struct ticker *ticker;
    int lanes;
    int64_t stale_ms, rotate_ms, dead_letters_max;
    struct pg *pg;
    struct flags *flags;
    struct relay *relay;
    struct arena arena, page_arena;
    struct seen *seen;
    size_t seen_mask, seen_count;
    int64_t audit_us; /* time that is left for audits in this sweep */
    struct batch_metrics metrics;
    struct outage redis_outage, postgres_outage;
    struct outage ahead; /* limits the log lines about flags with too high versions */
    struct locked_outbox locked[STREAMS];
    struct metric *flags_mended, *stale, *resent, *violations, *rotations;
};

/* --- the coupons of the last sweep --- */

static struct seen *seen_slot(struct seen *table, size_t mask, int64_t coupon_id) {
    size_t at = hash_int64(coupon_id) & mask;
    while (table[at].coupon_id && table[at].coupon_id != coupon_id)
        at = (at + 1) & mask;
    return &table[at];
}

static struct seen *seen_of(struct reconcile *reconcile, int64_t coupon_id) {
    if (2 * (reconcile->seen_count + 1) > reconcile->seen_mask) {
        size_t mask = 2 * reconcile->seen_mask + 1;
        struct seen *table = memory_new(mask + 1, sizeof *table);
        for (size_t i = 0; i <= reconcile->seen_mask; i++)
            if (reconcile->seen[i].coupon_id)
                *seen_slot(table, mask, reconcile->seen[i].coupon_id) = reconcile->seen[i];
        free(reconcile->seen);
        reconcile->seen = table;
        reconcile->seen_mask = mask;
    }
    struct seen *seen = seen_slot(reconcile->seen, reconcile->seen_mask, coupon_id);
    if (!seen->coupon_id) {
        *seen = (struct seen){.coupon_id = coupon_id, .accepted = -1};
        reconcile->seen_count++;
    }
    return seen;
}

/* True if the coupon has not changed since the last sweep. */
static bool at_rest(struct seen *seen, const struct coupon *coupon) {
    bool progress = seen->issued != coupon->issued || seen->rejected != coupon->rejected;
    if (!progress && seen->accepted == coupon->accepted)
        return true;
    if (progress || seen->accepted < 0)
        seen->progress_us = clock_mono_us();
    seen->accepted = coupon->accepted;
    seen->issued = coupon->issued;
    seen->rejected = coupon->rejected;
    seen->audited = false;
    return false;
}

/* --- invariants --- */

static bool violation(struct reconcile *reconcile, const struct coupon *coupon, const char *what, int64_t is,
                      int64_t should) {
    metric_add(reconcile->violations, 1);
    log_error("reconcile.violation", LOG_INT("coupon_id", coupon->id), LOG_STR("what", what), LOG_INT("is", is),
              LOG_INT("should_be", should));
    return false;
}

static bool audit(struct reconcile *reconcile, const struct coupon *coupon, struct err *err) {
    struct audit audit;
    if (!audit_coupon(reconcile->pg, &reconcile->arena, coupon->id, &audit, err))
        return false;
    if (audit.ledger_rows != audit.max_ticket)
        violation(reconcile, coupon, "tickets have gaps", audit.ledger_rows, audit.max_ticket);
    if (audit.ledger_rows < coupon->accepted)
        violation(reconcile, coupon, "fewer ledger rows than accepted", audit.ledger_rows, coupon->accepted);
    if (audit.held <= coupon->quantity && coupon->issued <= coupon->quantity)
        return true;
    violation(reconcile, coupon, "more issued than there are", audit.held, coupon->quantity);
    if (coupon->frozen)
        return true;
    log_error("reconcile.frozen", LOG_INT("coupon_id", coupon->id));
    return coupon_freeze(reconcile->pg, &reconcile->arena, reconcile->lanes, coupon->id, err) != COUPON_FAILED;
}

/* --- tickets that stay unissued ---
 *
 * A round looks at one coupon's tickets that were accepted at least reconcile.stale_ms ago. It tells of all that are
 * neither issued nor rejected, and resends those that are lost:
 *
 *   - Kafka has acknowledged their events, because the oldest event that waits in the lane is younger, and
 *   - a later ticket is decided already, or none was for reconcile.stale_ms. Otherwise issue is only behind.
 *
 * What a round has resent is not resent again before Kafka has acknowledged it. A large loss takes several sweeps. */

struct lateness {
    int64_t found, resent;
    const char *then; /* what happens to those that are not resent */
};

static bool is_lost(const struct coupon *coupon, const struct request_status *row, const struct outbox_unsent *unsent,
                    bool stands_still, struct lateness *lateness) {
    bool is_sent = row->accept_us < unsent->oldest_us;
    bool is_passed = row->ticket < coupon->highest || stands_still;
    if (!is_sent)
        lateness->then = "the others wait until Kafka has their events";
    else if (!is_passed)
        lateness->then = "the others wait for issue, which is behind";
    return is_sent && is_passed;
}

static bool resend(struct reconcile *reconcile, const struct request_status *rows, size_t n, struct err *err) {
    struct arena *arena = &reconcile->page_arena;
    struct outbox_event *events = ARENA_ARRAY(arena, struct outbox_event, n);
    for (size_t i = 0; i < n; i++)
        events[i] = outbox_event_again(arena, &rows[i]);
    const struct outbox_events again = {.n = n, .event = events};
    if (n && !outbox_append(reconcile->pg, arena, STREAM_REQUESTED, reconcile->lanes, &again, err))
        return false;
    metric_add(reconcile->resent, (int64_t)n);
    if (n)
        relay_wake(reconcile->relay, false);
    return true;
}

/* Works on one page. *ret_more: there is another one behind seen->at. */
static bool resend_page(struct reconcile *reconcile, const struct coupon *coupon, struct seen *seen, bool *ret_more,
                        struct lateness *lateness, struct err *err) {
    struct arena *arena = &reconcile->page_arena;
    struct request_status *rows = ARENA_ARRAY(arena, struct request_status, PAGE);
    struct unissued_tickets unissued = {
        .coupon_id = coupon->id, .after = seen->at, .to = seen->check_to, .room = PAGE, .rows = rows};
    struct outbox_unsent unsent;
    bool stands_still = clock_mono_us() - seen->progress_us >= reconcile->stale_ms * US_PER_MS;
    int32_t lane = murmur2_slot_of_id(coupon->id, reconcile->lanes);
    if (!outbox_unsent(reconcile->pg, arena, STREAM_REQUESTED, lane, &unsent, err) ||
        !audit_unissued(reconcile->pg, arena, &unissued, err))
        return false;
    if (seen->at == seen->decided_to) {
        /* The first page of a round. */
        seen->decided_to = seen->at = unissued.n ? rows[0].ticket - 1 : seen->check_to;
        seen->may_resend = unsent.cursor >= seen->resent_id;
        if (!seen->may_resend)
            lateness->then = "Kafka does not have yet what was resent";
    }
    size_t n_lost = 0;
    for (size_t i = 0; i < unissued.n; i++)
        if (seen->may_resend && is_lost(coupon, &rows[i], &unsent, stands_still, lateness))
            rows[n_lost++] = rows[i];
    if (unissued.n)
        seen->at = rows[unissued.n - 1].ticket > seen->at ? rows[unissued.n - 1].ticket : seen->at;
    if (!resend(reconcile, rows, n_lost, err))
        return false;
    if (n_lost)
        seen->resent_id = unsent.head + (int64_t)n_lost;
    lateness->found += (int64_t)unissued.n;
    lateness->resent += (int64_t)n_lost;
    *ret_more = unissued.n == PAGE;
    return true;
}

/* An error if events were lost, a warning if they only take long. */
static void tell_late(const struct coupon *coupon, int64_t first, const struct lateness *lateness) {
    if (lateness->resent)
        log_error("reconcile.unissued", LOG_INT("coupon_id", coupon->id), LOG_INT("tickets", lateness->found),
                  LOG_INT("first_ticket", first), LOG_INT("resent", lateness->resent), LOG_STR("then", lateness->then));
    else
        log_warn("reconcile.unissued", LOG_INT("coupon_id", coupon->id), LOG_INT("tickets", lateness->found),
                 LOG_INT("first_ticket", first), LOG_INT("resent", 0), LOG_STR("then", lateness->then));
}

static bool resend_late(struct reconcile *reconcile, const struct coupon *coupon, struct seen *seen, struct err *err) {
    struct lateness lateness = {.then = "all are resent"};
    int64_t first = seen->at + 1;
    bool ok = true, more = true;
    for (int pages = 0; ok && more && pages < RESEND_PAGES; pages++) {
        ok = resend_page(reconcile, coupon, seen, &more, &lateness, err);
        first = pages ? first : seen->decided_to + 1;
        arena_reset(&reconcile->page_arena);
    }
    metric_add(reconcile->stale, lateness.found);
    if (lateness.found)
        tell_late(coupon, first, &lateness);
    if (ok && !more) { /* the round is over; the next one is about those that are accepted by now */
        seen->at = seen->decided_to;
        seen->check_to = coupon->accepted;
        seen->check_us = clock_mono_us();
    }
    return ok;
}

/* Begins or continues a round if one is due. */
static bool check_late(struct reconcile *reconcile, const struct coupon *coupon, struct seen *seen, struct err *err) {
    bool none = coupon->accepted <= coupon->issued + coupon->rejected;
    if (none)
        seen->at = seen->decided_to = coupon->accepted;
    if (none || coupon->frozen) {
        seen->check_to = 0;
        return true;
    }
    if (seen->check_to == 0) {
        seen->check_to = coupon->accepted;
        seen->check_us = clock_mono_us();
    }
    if (clock_mono_us() - seen->check_us < reconcile->stale_ms * US_PER_MS)
        return true;
    return resend_late(reconcile, coupon, seen, err);
}

static bool check(struct reconcile *reconcile, const struct coupon *coupon, struct err *err) {
    struct seen *seen = seen_of(reconcile, coupon->id);
    if (at_rest(seen, coupon) && !seen->audited && coupon->accepted <= AUDIT_ROWS_MAX && reconcile->audit_us > 0) {
        int64_t start_us = clock_mono_us();
        if (!audit(reconcile, coupon, err))
            return false;
        seen->audited = true;
        /* An audit that exceeds the budget reduces the budget of the next sweeps. */
        reconcile->audit_us -= clock_mono_us() - start_us;
    }
    return check_late(reconcile, coupon, seen, err);
}

/* --- flags --- */

/* A flag's version can only be above that of its coupon if the coupon was changed after it was read, or if the flag comes
 * from elsewhere. So the coupons are read again, after the flags. Flags that are still ahead are added to `wrong`; they
 * replace exactly the version that was seen, so that a writer of a newer one wins. Returns false if Postgres fails. */
static bool find_ahead(struct reconcile *reconcile, const struct flag *ahead, size_t n, struct flag *wrong,
                       size_t *n_wrong, struct err *err) {
    struct coupon *rows = ARENA_ARRAY(&reconcile->arena, struct coupon, n);
    size_t n_before = *n_wrong;
    int64_t now_us;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct coupon){.id = ahead[i].coupon_id};
    if (!lookup_coupons(reconcile->pg, &reconcile->arena, rows, n, &now_us, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct flag should = flag_of(&rows[i], now_us);
        if (!rows[i].exists || ahead[i].version <= should.version)
            continue;
        should.replaces = ahead[i].version;
        if (*n_wrong == n_before && outage_failed(&reconcile->ahead))
            log_warn("reconcile.flag_ahead", LOG_INT("coupon_id", should.coupon_id),
                     LOG_INT("version", should.replaces), LOG_INT("should_be", should.version),
                     LOG_STR("then", "replaced"),
                     LOG_STR("reason", "Postgres was restored from a backup, or another installation uses this Redis"));
        wrong[(*n_wrong)++] = should;
    }
    return true;
}

/* Returns false if Redis or Postgres fails; err->backend tells which. */
static bool mend_flags(struct reconcile *reconcile, const struct coupon_detail *details, size_t n, int64_t now_us,
                       struct err *err) {
    struct flag *ahead = ARENA_ARRAY(&reconcile->arena, struct flag, n);
    struct flag *have = ARENA_ARRAY(&reconcile->arena, struct flag, n);
    struct flag *wrong = ARENA_ARRAY(&reconcile->arena, struct flag, n);
    size_t n_wrong = 0, n_ahead = 0;
    for (size_t i = 0; i < n; i++)
        have[i] = (struct flag){.coupon_id = details[i].row.id};
    if (!flags_get(reconcile->flags, have, n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct flag should = flag_of(&details[i].row, now_us);
        if (have[i].version > should.version)
            ahead[n_ahead++] = have[i];
        else if (have[i].value != should.value || have[i].version != should.version)
            wrong[n_wrong++] = should;
    }
    if (n_ahead && !find_ahead(reconcile, ahead, n_ahead, wrong, &n_wrong, err))
        return false;
    if (n_wrong)
        FAULT_POINT("reconcile", "before_flag_write");
    if (!flags_set(reconcile->flags, wrong, n_wrong, err))
        return false;
    if (n_wrong)
        FAULT_POINT("reconcile", "after_flag_write");
    metric_add(reconcile->flags_mended, (int64_t)n_wrong);
    return true;
}

static void note_rotation(struct reconcile *reconcile, int stream, enum outbox_rotation rotation) {
    struct locked_outbox *locked = &reconcile->locked[stream];
    int64_t now_us = clock_mono_us();
    bool is_locked = rotation == OUTBOX_LOCKED;
    if (is_locked && !locked->since_us)
        locked->since_us = now_us;
    else if (!is_locked)
        locked->since_us = 0;
    locked->next_try_us = is_locked ? now_us + reconcile->rotate_ms * US_PER_MS : 0;
    metric_set(locked->seconds, is_locked ? (double)(now_us - locked->since_us) / US_PER_S : 0);
    metric_add(reconcile->rotations, rotation == OUTBOX_ROTATED);
}

static bool rotate(struct reconcile *reconcile, struct err *err) {
    for (int stream = 0; stream < STREAMS; stream++) {
        enum outbox_rotation rotation;
        if (clock_mono_us() < reconcile->locked[stream].next_try_us)
            continue;
        if (!outbox_rotate(reconcile->pg, &reconcile->arena, (enum stream)stream, reconcile->rotate_ms, &rotation, err))
            return false;
        note_rotation(reconcile, stream, rotation);
    }
    return true;
}

/* Drops the oldest dead letters beyond issue.dead_letters_max, so that garbage does not fill the disk. If a dropped
 * letter was about a real ticket, the ledger still has the ticket. */
static bool trim_dead_letters(struct reconcile *reconcile, struct err *err) {
    int64_t dropped;
    if (!dead_letters_trim(reconcile->pg, &reconcile->arena, reconcile->dead_letters_max, &dropped, err))
        return false;
    if (dropped)
        log_warn("reconcile.dead_letters_dropped", LOG_INT("n", dropped), LOG_INT("kept", reconcile->dead_letters_max));
    return true;
}

/* Sweeps all coupons, page by page. If Redis is unavailable, audits and rotation still run. */
static bool sweep(struct reconcile *reconcile, struct err *err) {
    struct coupon_detail *details = ARENA_ARRAY(&reconcile->arena, struct coupon_detail, PAGE);
    struct coupon_page page = {.room = PAGE, .coupons = details};
    int64_t now_us;
    bool own, redis = true;
    reconcile->audit_us += AUDIT_BUDGET_US;
    if (reconcile->audit_us > AUDIT_BUDGET_US)
        reconcile->audit_us = AUDIT_BUDGET_US;
    if (!pg_connect(reconcile->pg, err) || !audit_take_lock(reconcile->pg, &own, err))
        return false;
    if (!own) {
        for (int stream = 0; stream < STREAMS; stream++)
            note_rotation(reconcile, stream, OUTBOX_NOT_DUE); /* the process that sweeps knows */
        return true;
    }
    do {
        struct err redis_err;
        if (!coupon_now(reconcile->pg, &now_us, err) || !coupon_list(reconcile->pg, &reconcile->arena, &page, err))
            return false;
        if (redis && page.n && !mend_flags(reconcile, details, page.n, now_us, &redis_err)) {
            if (redis_err.backend == BACKEND_POSTGRES) {
                *err = redis_err;
                return false;
            }
            stage_interrupted(&reconcile->redis_outage, "reconcile", &redis_err);
            redis = false;
        }
        for (size_t i = 0; i < page.n; i++)
            if (!check(reconcile, &details[i].row, err))
                return false;
        if (page.n)
            page.after = details[page.n - 1].row.id;
    } while (page.n == PAGE);
    if (redis)
        stage_resumed(&reconcile->redis_outage, "reconcile");
    return trim_dead_letters(reconcile, err) && rotate(reconcile, err);
}

static void tick(void *arg) {
    struct reconcile *reconcile = arg;
    struct err err;
    int64_t start_us = clock_mono_us();
    if (sweep(reconcile, &err))
        stage_resumed(&reconcile->postgres_outage, "reconcile");
    else
        stage_interrupted(&reconcile->postgres_outage, "reconcile", &err);
    batch_metrics_observe(&reconcile->metrics, reconcile->seen_count, clock_mono_us() - start_us);
    arena_reset(&reconcile->arena);
}

static void register_metrics(struct reconcile *reconcile) {
    reconcile->metrics = batch_metrics("reconcile");
    reconcile->flags_mended = metrics_counter("couponsd_reconcile_flags_mended_total",
                                              "Flags in Redis that differed from Postgres and were corrected.", "");
    reconcile->stale = metrics_counter("couponsd_reconcile_stale_tickets_total",
                                       "Accepted tickets found unissued for longer than reconcile.stale_ms.", "");
    reconcile->resent = metrics_counter("couponsd_reconcile_resent_total", "Unissued tickets that were resent.", "");
    reconcile->violations =
        metrics_counter("couponsd_reconcile_violations_total", "Broken invariants found; the log has the details.", "");
    static const char *const labels[STREAMS] = {"stream=\"requested\"", "stream=\"published\""};
    for (int stream = 0; stream < STREAMS; stream++)
        reconcile->locked[stream].seconds = metrics_gauge(
            "couponsd_outbox_locked_seconds",
            "How long another transaction has kept the outbox from rotating; 0: not at present.", labels[stream]);
    reconcile->rotations = metrics_counter("couponsd_outbox_rotations_total", "Outbox segments truncated.", "");
}

bool reconcile_start(struct context *context, struct reconcile **ret_reconcile, struct err *err) {
    const struct config *config = context->config;
    int64_t idle_ms = IDLE_INTERVALS * config->reconcile_interval_ms;
    struct pg_options owner = context->cold;
    owner.idle_timeout_ms = (int)(idle_ms > IDLE_MIN_MS ? idle_ms : IDLE_MIN_MS);
    struct reconcile *reconcile = memory_new(1, sizeof *reconcile);
    *reconcile = (struct reconcile){
        .lanes = (int)config->flow_lanes,
        .stale_ms = config->reconcile_stale_ms,
        .rotate_ms = config->outbox_rotate_ms,
        .dead_letters_max = config->issue_dead_letters_max,
        .pg = pg_new(&owner),
        .relay = context->relays[STREAM_REQUESTED],
        .seen = memory_new(SEEN_MIN, sizeof *reconcile->seen),
        .seen_mask = SEEN_MIN - 1,
    };
    arena_init(&reconcile->arena, 256 * 1024);
    arena_init(&reconcile->page_arena, 256 * 1024);
    register_metrics(reconcile);
    if (!flags_new(&context->redis, &reconcile->flags, err) ||
        !ticker_start("reconcile", config->reconcile_interval_ms * US_PER_MS, tick, reconcile, &reconcile->ticker,
                      err)) {
        reconcile_stop(reconcile);
        return false;
    }
    *ret_reconcile = reconcile;
    return true;
}

void reconcile_stop(struct reconcile *reconcile) {
    if (!reconcile)
        return;
    ticker_stop(reconcile->ticker);
    flags_free(reconcile->flags);
    pg_free(reconcile->pg);
    arena_deinit(&reconcile->arena);
    arena_deinit(&reconcile->page_arena);
    free(reconcile->seen);
    free(reconcile);
}
