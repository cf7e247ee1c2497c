/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: places before and after each durable change, at which a test can kill couponsd.
 *
 *   FAULT_POINT("admit", "before_commit");
 *
 * Only the program couponsd_faults (tests/chaos) is compiled with FAULTS; in all other builds a fault point does
 * nothing.
 *
 *   COUPONSD_FAULT=admit.before_commit:3   when threads pass this point for the third time, the process prints one line
 *                                          on stderr and kills itself with SIGKILL
 *   COUPONSD_FAULT=list                    prints all points and exits
 *
 * Any thread. */
#pragma once

#ifdef FAULTS
#define FAULT_POINT(step, moment) fault_pass(step, moment)
/* Passes a point. Aborts if the table in fault.c lacks the point. */
void fault_pass(const char *step, const char *moment);
#else
#define FAULT_POINT(step, moment) ((void)0)
#endif
