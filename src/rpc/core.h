/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends gRPC's core in this process, and hides what differs between its versions. Files that use the core's
 * credentials include this header instead of the core's own. Any thread. */
#pragma once

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdint.h>
#if __has_include(<grpc/credentials.h>)
#include <grpc/credentials.h> /* newer cores declare the credentials' functions here alone */
#endif

/* The core counts these. The last core_deinit waits until no thread of the core is left. */
void core_init(void);
void core_deinit(void);

/* A time of the core as clock_mono_us has it; INT64_MAX for one in the infinite future. Call it after core_init. */
int64_t core_time_us(gpr_timespec time);

/* Newer cores have two limits for metadata. Between the soft and the hard one they refuse calls at random. */
#ifdef GRPC_ARG_ABSOLUTE_MAX_METADATA_SIZE
#define CORE_ARG_HARD_METADATA_SIZE GRPC_ARG_ABSOLUTE_MAX_METADATA_SIZE
#else
#define CORE_ARG_HARD_METADATA_SIZE "grpc.absolute_max_metadata_size" /* older cores ignore it */
#endif
/* Newer cores also refuse calls while too many wait to be requested: some of them from 1,000 on, all from 3,000 on. */
#define CORE_ARG_PENDING_SOFT "grpc.server.max_pending_requests"
#define CORE_ARG_PENDING_HARD "grpc.server.max_pending_requests_hard_limit"
/* The time for the answer to a ping that is not keepalive's. While one is unanswered, newer cores send no other; 1.51
 * ignores the argument. */
#define CORE_ARG_PING_TIMEOUT "grpc.http2.ping_timeout_ms"
