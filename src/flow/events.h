/* The events of the contract, packed into an arena. */
#pragma once

#include "base/arena.h"
#include "store/pg.h"

/* Whether this may be passed on as a traceparent: printable ASCII, and no longer than any version of W3C trace context
 * will need. */
bool traceparent_is_fine(const char *value, size_t len);

/* coupon.v1.PublishRequested. */
struct pg_bytes event_requested(struct arena *arena, int64_t coupon_id, int64_t user_id, const char *request_id,
                                int64_t ticket, int64_t accept_us);
/* coupon.v1.Published. */
struct pg_bytes event_published(struct arena *arena, int64_t coupon_id, int64_t user_id, const char *request_id,
                                int64_t ticket, int64_t accept_us, int64_t issue_us);
