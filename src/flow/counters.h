/* The totals that people ask for: accepted, issued, refused by reason. Registered once, counted from any thread. */
#pragma once

#include <stdint.h>

void totals_register(void);
void totals_accepted(int64_t n);
void totals_issued(int64_t n);
void totals_rejected(int64_t n);
void totals_dead_lettered(int64_t n);
/* `reason`: of the contract's table. */
void totals_refused(const char *reason);
