/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/core.h"

#include <dlfcn.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (strstr(args->message, "assertion failed"))
        fprintf(stderr, "gRPC core: %s:%d: %s\n", args->file, args->line, args->message);
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

void core_init(void) {
    stop_deadlock_detection();
    grpc_init();
    if (!getenv("GRPC_VERBOSITY"))
        quieten_log();
}

void core_deinit(void) {
    grpc_shutdown_blocking();
}
