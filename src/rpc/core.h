/* SPDX-License-Identifier: Apache-2.0 */
/* The life of gRPC's core in this process. Any thread. */
#pragma once

/* grpc_init and grpc_shutdown, counted by the core. After the last deinit no thread of the core is left. */
void core_init(void);
void core_deinit(void);
