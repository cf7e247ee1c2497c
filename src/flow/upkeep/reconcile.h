/* SPDX-License-Identifier: Apache-2.0 */
/* The reconciler repairs flags, and audits coupons that no longer change. Every reconcile.interval_ms, one of the
 * processes sweeps the live coupons (store/live_coupons.h) and the next 200 of all coupons. A sweep
 *
 *   - sets the flags in Redis that differ from Postgres, which also rebuilds a flushed Redis,
 *   - audits coupons whose counters no longer change: the tickets have no gaps, and no more coupons are issued than
 *     exist. If more are issued, it freezes the coupon and logs an error.
 *   - logs and resends tickets that stay unissued for reconcile.stale_ms although nothing is in progress,
 *   - trims the dead letters to issue.dead_letters_max,
 *   - rotates the outbox segments. */
#pragma once

#include "flow/context.h"

struct reconcile;

/* Uses the relay of the requested stream, which the reconciler wakes after it has resent tickets. */
bool reconcile_start(struct context *context, struct reconcile **ret_reconcile, struct err *err);
void reconcile_stop(struct reconcile *reconcile);
