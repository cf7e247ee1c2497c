/* The totals that people ask for: accepted, issued, refused by reason. Registered once, counted from any thread. */
#pragma once

#include <stdint.h>

#include "model/reason.h"

void counters_register(void);
void counters_accepted(int64_t n);
void counters_issued(int64_t n);
void counters_rejected(int64_t n);
void counters_dead_lettered(int64_t n);
void counters_refused(enum reason reason);
