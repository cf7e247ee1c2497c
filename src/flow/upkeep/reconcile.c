/* SPDX-License-Identifier: Apache-2.0 */
/* The reconciler; see reconcile.h.
 *
 * One thread with one connection does all the work. The connection is a cold one, since its queries scan. A sweep looks
 * at the live coupons (store/live_coupons.h), and at a few of all coupons, to mend the flags of those that have ended.
 * A table by coupon id remembers the counters of the last sweep, so that only coupons at rest are audited, and only
 * once. */
#include "flow/upkeep/reconcile.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ints.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/murmur2.h"
#include "base/ticker.h"
#include "flow/relay.h"
#include "flow/stage.h"
#include "flow/upkeep/flag_mender.h"
#include "model/event.h"
#include "store/audit.h"
#include "store/coupon_rows.h"
#include "store/coupons.h"
#include "store/dead_letters.h"
#include "store/live_coupons.h"

#define PAGE 1000
/* Pages of live coupons that one sweep looks at. The next sweep continues. */
#define LIVE_PAGES 10
/* The number of coupons, whether live or not, that one sweep looks at beside the live ones. The next sweep
 * continues. */
#define OTHERS 200
/* A coupon leaves the list of live ones after it was found to have ended in this number of sweeps, with Redis at hand.
 * If Redis fails over meanwhile, and the new master does not have the last flags, they are mended by then. */
#define SWEEPS_TO_END 60
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
    bool is_live;      /* false: was removed from the list of live coupons */
    int64_t accepted, issued, rejected;
    bool audited;
    int64_t audit_due_us; /* after an audit that failed; monotonic */
    int ended_sweeps;     /* sweeps that found it to have ended */
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
    struct flag_mender *flag_mender;
    struct relay *relay;
    struct arena arena, page_arena;
    struct seen *seen;
    size_t seen_mask, seen_count;
    size_t looked_at;    /* coupons in this sweep */
    int64_t live_after;  /* the sweep of live coupons continues behind this id */
    int64_t other_after; /* and that of all coupons behind this one */
    bool has_redis;      /* Redis has answered in this sweep */
    int64_t audit_us;    /* time that is left for audits in this sweep */
    struct batch_metrics metrics;
    struct outage redis_outage, postgres_outage;
    struct locked_outbox locked[STREAMS];
    int64_t snapshot_xmin, snapshot_us; /* the oldest snapshot, and since when it is; monotonic */
    struct metric *snapshot_seconds;
    struct metric *stale, *resent, *violations, *rotations;
};

/* --- the coupons of the last sweep --- */

static struct seen *seen_slot(struct seen *table, size_t mask, int64_t coupon_id) {
    size_t at = hash_int64(coupon_id) & mask;
    while (table[at].coupon_id && table[at].coupon_id != coupon_id)
        at = (at + 1) & mask;
    return &table[at];
}

/* Makes a new table for at least twice the coupons that are live, without the others. */
static void rebuild_seen(struct reconcile *reconcile) {
    size_t n = 0, mask = SEEN_MIN - 1;
    for (size_t i = 0; i <= reconcile->seen_mask; i++)
        n += reconcile->seen[i].is_live;
    while (mask < 4 * n)
        mask = 2 * mask + 1;
    struct seen *table = memory_new(mask + 1, sizeof *table);
    for (size_t i = 0; i <= reconcile->seen_mask; i++)
        if (reconcile->seen[i].is_live)
            *seen_slot(table, mask, reconcile->seen[i].coupon_id) = reconcile->seen[i];
    free(reconcile->seen);
    reconcile->seen = table;
    reconcile->seen_mask = mask;
    reconcile->seen_count = n;
}

static struct seen *seen_of(struct reconcile *reconcile, int64_t coupon_id) {
    if (2 * (reconcile->seen_count + 1) > reconcile->seen_mask)
        rebuild_seen(reconcile);
    struct seen *seen = seen_slot(reconcile->seen, reconcile->seen_mask, coupon_id);
    reconcile->seen_count += !seen->coupon_id;
    if (!seen->is_live)
        *seen = (struct seen){.coupon_id = coupon_id, .is_live = true, .accepted = -1};
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
    /* Somebody may have added to the quantity since the coupon was read. */
    if (audit.held <= audit.quantity && coupon->issued <= audit.quantity)
        return true;
    violation(reconcile, coupon, "more issued than there are", audit.held, audit.quantity);
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
        .coupon_id = coupon->id, .after = seen->at, .to = seen->check_to, .room = PAGE, .statuses = rows};
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
    if (!ok)
        seen->check_us = clock_mono_us(); /* the next attempt is due after reconcile.stale_ms */
    if (ok && !more) {                    /* the round is over; the next one is about those that are accepted by now */
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
    if (at_rest(seen, coupon) && !seen->audited && coupon->accepted <= AUDIT_ROWS_MAX && reconcile->audit_us > 0 &&
        clock_mono_us() >= seen->audit_due_us) {
        int64_t start_us = clock_mono_us();
        seen->audited = audit(reconcile, coupon, err);
        /* An audit that exceeds the budget reduces the budget of the next sweeps. */
        reconcile->audit_us -= clock_mono_us() - start_us;
        if (!seen->audited) {
            seen->audit_due_us = clock_mono_us() + reconcile->stale_ms * US_PER_MS;
            return false;
        }
    }
    return check_late(reconcile, coupon, seen, err);
}

/* --- outbox and dead letters --- */

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

/* `xmin` identifies the oldest snapshot; 0: none is old. */
static void note_snapshot(struct reconcile *reconcile, int64_t xmin) {
    int64_t now_us = clock_mono_us();
    if (xmin != reconcile->snapshot_xmin)
        reconcile->snapshot_us = now_us;
    reconcile->snapshot_xmin = xmin;
    metric_set(reconcile->snapshot_seconds, xmin ? (double)(now_us - reconcile->snapshot_us) / US_PER_S : 0);
}

static bool look_for_snapshots(struct reconcile *reconcile, struct err *err) {
    int64_t xmin;
    if (!audit_oldest_snapshot(reconcile->pg, &xmin, err))
        return false;
    note_snapshot(reconcile, xmin);
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

/* --- the sweep --- */

/* Reads the coupons and repairs their flags. If Redis fails, it is left alone for the rest of the sweep. */
static bool look_at(struct reconcile *reconcile, const struct coupon_ids *ids, struct coupon *ret_rows,
                    int64_t *ret_now_us, struct err *err) {
    struct err problem;
    for (size_t i = 0; i < ids->n; i++)
        ret_rows[i].id = ids->id[i];
    if (ids->n == 0)
        return true;
    reconcile->looked_at += ids->n;
    if (!coupon_rows_load(reconcile->pg, &reconcile->arena, ret_rows, ids->n, ret_now_us, err))
        return false;
    if (!reconcile->has_redis || flag_mender_run(reconcile->flag_mender, ret_rows, ids->n, *ret_now_us, &problem))
        return true;
    if (problem.backend == BACKEND_POSTGRES) {
        *err = problem;
        return false;
    }
    stage_interrupted(&reconcile->redis_outage, "reconcile", &problem);
    reconcile->has_redis = false;
    return true;
}

/* Counts the sweeps that found the coupon to have ended. Returns true if it may leave the list of live coupons. */
static bool has_left(struct reconcile *reconcile, const struct coupon *coupon, int64_t now_us) {
    struct seen *seen = seen_of(reconcile, coupon->id);
    if (!coupon_has_ended(coupon, now_us)) {
        seen->ended_sweeps = 0;
        return false;
    }
    seen->ended_sweeps += reconcile->has_redis;
    return seen->ended_sweeps >= SWEEPS_TO_END && (seen->audited || coupon->accepted > AUDIT_ROWS_MAX);
}

static bool sweep_page_of_live(struct reconcile *reconcile, struct coupon_ids *ids, struct err *err) {
    struct coupon *rows = ARENA_ARRAY(&reconcile->arena, struct coupon, PAGE);
    struct coupon_ids ended = {.id = ARENA_ARRAY(&reconcile->arena, int64_t, PAGE),
                               .changes = ARENA_ARRAY(&reconcile->arena, int64_t, PAGE)};
    int64_t now_us;
    if (!live_coupons_list(reconcile->pg, &reconcile->arena, ids, err) || !look_at(reconcile, ids, rows, &now_us, err))
        return false;
    for (size_t i = 0; i < ids->n; i++) {
        if (!rows[i].exists)
            continue;
        if (!check(reconcile, &rows[i], err)) {
            if (!pg_is_connected(reconcile->pg))
                return false;
            /* A coupon whose query fails, e.g. by the time-out of statements, does not keep the others waiting. */
            log_warn("reconcile.coupon_failed", LOG_INT("coupon_id", rows[i].id), LOG_ERR(err),
                     LOG_STR("then", "the sweep goes on with the next coupon"));
            continue;
        }
        if (has_left(reconcile, &rows[i], now_us)) {
            ended.id[ended.n] = ids->id[i];
            ended.changes[ended.n++] = ids->changes[i];
        }
    }
    if (!live_coupons_remove(reconcile->pg, &reconcile->arena, &ended, err))
        return false;
    for (size_t i = 0; i < ended.n; i++)
        seen_of(reconcile, ended.id[i])->is_live = false; /* if it stays in the list, it counts as new */
    return true;
}

static bool sweep_live(struct reconcile *reconcile, struct err *err) {
    struct coupon_ids ids = {.room = PAGE,
                             .id = ARENA_ARRAY(&reconcile->arena, int64_t, PAGE),
                             .changes = ARENA_ARRAY(&reconcile->arena, int64_t, PAGE)};
    bool more = true;
    for (int pages = 0; more && pages < LIVE_PAGES; pages++) {
        ids.after = reconcile->live_after;
        if (!sweep_page_of_live(reconcile, &ids, err))
            return false;
        more = ids.n == PAGE;
        reconcile->live_after = more ? ids.id[PAGE - 1] : 0;
    }
    return true;
}

/* Looks at the next few of all coupons. Those that have not ended belong in the list of live ones. They may be missing
 * there if somebody has changed rows by hand, or if Postgres' clock was set back. */
static bool sweep_others(struct reconcile *reconcile, struct err *err) {
    struct coupon *rows = ARENA_ARRAY(&reconcile->arena, struct coupon, OTHERS);
    int64_t *lost = ARENA_ARRAY(&reconcile->arena, int64_t, OTHERS), now_us;
    struct coupon_ids ids = {
        .after = reconcile->other_after, .room = OTHERS, .id = ARENA_ARRAY(&reconcile->arena, int64_t, OTHERS)};
    size_t n_lost = 0;
    if (!live_coupons_list_all(reconcile->pg, &reconcile->arena, &ids, err) ||
        !look_at(reconcile, &ids, rows, &now_us, err))
        return false;
    reconcile->other_after = ids.n == OTHERS ? ids.id[OTHERS - 1] : 0;
    for (size_t i = 0; i < ids.n; i++)
        if (rows[i].exists && !coupon_has_ended(&rows[i], now_us))
            lost[n_lost++] = rows[i].id;
    return live_coupons_add(reconcile->pg, &reconcile->arena, lost, n_lost, err);
}

/* If Redis is unavailable, audits and rotation still run. */
static bool sweep(struct reconcile *reconcile, struct err *err) {
    bool own;
    reconcile->looked_at = 0;
    reconcile->has_redis = true;
    reconcile->audit_us += AUDIT_BUDGET_US;
    if (reconcile->audit_us > AUDIT_BUDGET_US)
        reconcile->audit_us = AUDIT_BUDGET_US;
    if (!pg_connect(reconcile->pg, err) || !audit_take_lock(reconcile->pg, &own, err))
        return false;
    if (!own) {
        for (int stream = 0; stream < STREAMS; stream++)
            note_rotation(reconcile, stream, OUTBOX_NOT_DUE); /* the process that sweeps knows */
        note_snapshot(reconcile, 0);
        return true;
    }
    if (!sweep_live(reconcile, err) || !sweep_others(reconcile, err))
        return false;
    if (reconcile->has_redis)
        stage_resumed(&reconcile->redis_outage, "reconcile");
    return trim_dead_letters(reconcile, err) && rotate(reconcile, err) && look_for_snapshots(reconcile, err);
}

static void tick(void *arg) {
    struct reconcile *reconcile = arg;
    struct err err;
    int64_t start_us = clock_mono_us();
    if (sweep(reconcile, &err))
        stage_resumed(&reconcile->postgres_outage, "reconcile");
    else
        stage_interrupted(&reconcile->postgres_outage, "reconcile", &err);
    batch_metrics_observe(&reconcile->metrics, reconcile->looked_at, clock_mono_us() - start_us);
    arena_reset(&reconcile->arena);
}

static void register_metrics(struct reconcile *reconcile) {
    reconcile->metrics = batch_metrics("reconcile");
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
    reconcile->snapshot_seconds = metrics_gauge(
        "couponsd_postgres_snapshot_seconds",
        "How long somebody has held a snapshot that keeps Postgres from removing old rows; 0: nobody.", "");
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
    const struct flag_mender_options mender = {&context->redis, reconcile->pg, &reconcile->arena};
    if (!flag_mender_new(&mender, &reconcile->flag_mender, err) ||
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
    flag_mender_free(reconcile->flag_mender);
    pg_free(reconcile->pg);
    arena_deinit(&reconcile->arena);
    arena_deinit(&reconcile->page_arena);
    free(reconcile->seen);
    free(reconcile);
}
