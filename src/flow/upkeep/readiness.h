/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this process can serve: whether Postgres answers and takes writes. Kafka and Redis may be unavailable.
 *
 * A thread asks Postgres over a connection of its own, and keeps the result. So a question costs nothing, and is
 * answered at once while Postgres is silent. */
#pragma once

#include <stdbool.h>

#include "flow/context.h"

struct readiness;

/* Asks Postgres once, then starts the thread. */
bool readiness_start(struct context *context, struct readiness **ret_readiness, struct err *err);
/* Waits for a running question, and ends the thread. NULL is fine. */
void readiness_stop(struct readiness *readiness);
/* Whether Postgres takes writes, by an answer that is not older than 2 s. `text` gets one line for a person: how old
 * the answer is, or what is wrong. Any thread; never blocks. */
bool readiness_tell(struct readiness *readiness, char text[static 200]);
