/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of what stays broken, without a flood: one line when it begins, one every ten seconds while it lasts, one when
 * it is over. Belongs to one thread. Zeroed is "all is well". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct outage {
    int64_t since_us, logged_us; /* monotonic; 0: none */
};

/* It failed (again). True when a line is due. */
bool outage_failed(struct outage *outage);
/* It works. True when it had failed before; *ret_us is then how long it lasted. */
bool outage_over(struct outage *outage, int64_t *ret_us);
