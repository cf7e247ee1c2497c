/* The reconciler: every reconcile.interval_ms one of the processes sweeps all coupons. It
 *   - sets flags in Redis that differ from Postgres (a flushed Redis is rebuilt),
 *   - audits coupons that have come to rest: tickets without gaps, never more held than there are; a coupon of which
 *     more was issued is frozen, and an alarm raised,
 *   - sends tickets again that stay unissued for reconcile.stale_ms although nothing is under way, and raises an alarm,
 *   - lets the outbox segments take turns. */
#pragma once

#include "flow/context.h"

struct reconcile;

/* Wakes the relay of the requested stream after it has sent tickets again. */
bool reconcile_start(struct context *context, struct reconcile **ret_reconcile, struct err *err);
void reconcile_stop(struct reconcile *reconcile);
