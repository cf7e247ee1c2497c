/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/notify.h"
#include "base/ticker.h"

/* Answers per interval of the watchdog. systemd recommends two; one more makes up for a late one. */
#define ANSWERS_PER_INTERVAL 3
/* A thread whose piece of work takes longer than this, beyond twice the time-outs of Postgres and admit.retry_ms, is
 * stuck. */
#define STUCK_MS (120 * INT64_C(1000))

struct supervisor {
    struct ticker *ticker; /* NULL: there is no watchdog */
    int64_t stuck_us;
    bool told; /* that a thread is stuck */
};

static void answer_watchdog(void *arg) {
    struct supervisor *supervisor = arg;
    const char *name = "";
    int64_t longest_us = hearts_longest(&name);
    bool is_stuck = longest_us > supervisor->stuck_us;
    if (!is_stuck)
        notify("WATCHDOG=1");
    else if (!supervisor->told)
        log_error("watchdog.stuck", LOG_STR("thread", name), LOG_NUM("for_s", (double)longest_us / US_PER_S),
                  LOG_STR("next", "the service manager restarts couponsd"));
    supervisor->told = is_stuck;
}

bool supervisor_ready(const struct config *config, struct supervisor **ret_supervisor, struct err *err) {
    int64_t interval_us = notify_watchdog_us();
    int64_t timeouts_ms =
        config->postgres_statement_timeout_ms + config->postgres_connect_timeout_s * 1000 + config->admit_retry_ms;
    struct supervisor *supervisor = memory_new(1, sizeof *supervisor);
    supervisor->stuck_us = (STUCK_MS + 2 * timeouts_ms) * US_PER_MS;
    if (interval_us > 0 && !ticker_start("watchdog", interval_us / ANSWERS_PER_INTERVAL, answer_watchdog, supervisor,
                                         &supervisor->ticker, err)) {
        free(supervisor);
        return false;
    }
    notify("READY=1");
    *ret_supervisor = supervisor;
    return true;
}

void supervisor_stopping(void) {
    notify("STOPPING=1");
}

void supervisor_free(struct supervisor *supervisor) {
    if (!supervisor)
        return;
    ticker_stop(supervisor->ticker);
    free(supervisor);
}
