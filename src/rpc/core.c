/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/core.h"

#include <dlfcn.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* cmake/core_features.cmake defines:
 *
 *   CORE_LOGS_BY_FUNCTION         gpr_set_log_function takes the core's log. Without it, the core uses Abseil's log.
 *   ABSL_SET_DEADLOCK_DETECTION,  the symbols of two functions of the Abseil that the core is linked with. A symbol
 *   ABSL_SET_LOG_LEVEL            contains Abseil's version. Each is undefined where Abseil lacks the function. */

/* --- Abseil: its functions are C++, and take an enum --- */

/* Calls the function that the program or a library of the process has by that name, if one has. */
__attribute__((unused)) static void call_absl(const char *name, int value) {
    void (*function)(int), *found = dlsym(RTLD_DEFAULT, name);
    memcpy(&function, &found, sizeof function);
    if (function)
        function(value);
}

/* Debian builds Abseil with deadlock detection, which keeps a graph of all locks under one global lock and takes an
 * eighth of the core's CPU time. */
static void stop_deadlock_detection(void) {
#ifdef ABSL_SET_DEADLOCK_DETECTION
    enum { ON_DEADLOCK_IGNORE = 0 };
    call_absl(ABSL_SET_DEADLOCK_DETECTION, ON_DEADLOCK_IGNORE);
#endif
}

/* --- the core's log --- */

/* The core logs as errors mostly events that any client can cause; statuses and struct err report them, too. We print
 * only the reason for which the core aborts. */

#ifdef CORE_LOGS_BY_FUNCTION
static void log_assertions(gpr_log_func_args *args) {
    char line[1000];
    if (!strstr(args->message, "assertion failed"))
        return;
    snprintf(line, sizeof line, "%s:%d: %s", args->file, args->line, args->message);
    log_last_words("grpc.aborts", line);
}

static void quieten_log(void) {
    gpr_set_log_function(log_assertions);
}
#else
static void quieten_log(void) {
#ifdef ABSL_SET_LOG_LEVEL
    enum { FATAL_ONLY = 3 };
    call_absl(ABSL_SET_LOG_LEVEL, FATAL_ONLY);
#endif
}
#endif

/* --- EventEngine --- */

/* Newer cores accept connections and read them on threads of their own. A client that floods the server then keeps
 * these busy, and others wait for seconds: the edge can interrupt the read of one connection, but the core comes back
 * to it at once. Without this experiment the poller's thread accepts and reads, as in older cores. */
#define LAST_CORE_WITHOUT_EXPERIMENT 29 /* 1.51 */
#define NO_EVENT_ENGINE_LISTENER     "-event_engine_listener"

static void keep_reading_on_pollers(void) {
    if (strtol(grpc_version_string(), NULL, 10) > LAST_CORE_WITHOUT_EXPERIMENT)
        setenv("GRPC_EXPERIMENTS", NO_EVENT_ENGINE_LISTENER, 0); /* the operator's own choice stays */
}

/* --- time --- */

/* The monotonic time of newer cores is five seconds ahead of the kernel's. */
static int64_t ahead_us;

static void measure_clock(void) {
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    int64_t difference_us = now.tv_sec * US_PER_S + now.tv_nsec / 1000 - clock_mono_us();
    ahead_us = (difference_us + US_PER_S / 2) / US_PER_S * US_PER_S;
}

int64_t core_time_us(gpr_timespec time) {
    time = gpr_convert_clock_type(time, GPR_CLOCK_MONOTONIC);
    if (time.tv_sec >= INT64_MAX / US_PER_S)
        return INT64_MAX;
    return time.tv_sec * US_PER_S + time.tv_nsec / 1000 - ahead_us;
}

static void prepare(void) {
    stop_deadlock_detection();
    keep_reading_on_pollers();
    measure_clock();
}

void core_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    grpc_init();
    if (!getenv("GRPC_VERBOSITY"))
        quieten_log();
}

void core_deinit(void) {
    grpc_shutdown_blocking();
}
