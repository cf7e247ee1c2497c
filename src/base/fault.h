/* SPDX-License-Identifier: Apache-2.0 */
/* Points at which a couponsd built for tests dies, in front of and behind whatever it makes durable:
 *
 *   FAULT_POINT("admit", "before_commit");
 *
 * Only couponsd_faults (tests/chaos) is compiled with FAULTS; for all others these lines are nothing. In it the
 * environment says where to die: COUPONSD_FAULT=admit.before_commit:3 is a SIGKILL from itself, with one line on
 * stderr, when some thread passes that point for the third time. COUPONSD_FAULT=list prints all points, and ends. Any
 * thread. */
#pragma once

#ifdef FAULTS
#define FAULT_POINT(step, moment) fault_pass(step, moment)
/* Aborts where fault.c's table does not know the point. */
void fault_pass(const char *step, const char *moment);
#else
#define FAULT_POINT(step, moment) ((void)0)
#endif
