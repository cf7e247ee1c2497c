/* SPDX-License-Identifier: Apache-2.0 */
/* The totals of what this process did: requests accepted, coupons issued, calls refused by reason. counters_register
 * registers the metrics; any thread may count. Before the registration the functions do nothing. */
#pragma once

#include <stdint.h>

#include "model/reason.h"

void counters_register(void);
void counters_accepted(int64_t n);
void counters_issued(int64_t n);
void counters_rejected(int64_t n);
void counters_dead_lettered(int64_t n);
void counters_refused(enum reason reason);
/* The same for n calls that were refused before gRPC read them. */
void counters_refused_early(enum reason reason, int64_t n);
