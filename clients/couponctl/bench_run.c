/* SPDX-License-Identifier: Apache-2.0 */
/* What all parts of bench use: signals, and answers that contradict each other; see bench.h. */
#include <signal.h>
#include <stdarg.h>
#include <time.h>

#include "bench.h"

void bench_contradict(struct bench *bench, const char *format, ...) {
    if (bench->result.contradictions++ > 0)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(bench->result.contradiction, sizeof bench->result.contradiction, format, args);
    va_end(args);
}

static sigset_t stop_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void bench_block_signals(void) {
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

bool bench_tick(struct bench *bench, int64_t ms) {
    sigset_t set = stop_signals();
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    if (sigtimedwait(&set, NULL, &pause) < 0)
        return false;
    bench->result.is_interrupted = true;
    return true;
}
