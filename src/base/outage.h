/* SPDX-License-Identifier: Apache-2.0 */
/* Limits the log lines about an outage: one when it begins, one every 10 s while it lasts, and one when it is over. One
 * thread. A zeroed struct means that there is no outage. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct outage {
    int64_t since_us, logged_us; /* monotonic; 0: none */
    int cause;                   /* the owner's own; 0 at first */
};

/* True between a failure and the success that ends it. */
bool outage_is_on(const struct outage *outage);
/* Records a failure. Returns true if a line is due. */
bool outage_failed(struct outage *outage);
/* Records a success. Returns true if it ends an outage; *ret_us is then the length of the outage. */
bool outage_over(struct outage *outage, int64_t *ret_us);
