/* Step 7, complete: from the published topic to the flag. For the coupons of a batch, one question to Postgres; where
 * nothing is left, the flag in Redis becomes false, by version. Committed to Kafka after that; doing it twice is
 * harmless. Also wakes those who watch here for what another process issued. */
#pragma once

#include "flow/context.h"

struct complete;

bool complete_start(struct context *context, struct complete **ret_complete, struct err *err);
void complete_stop(struct complete *complete);
