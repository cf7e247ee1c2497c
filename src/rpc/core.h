/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends gRPC's core in this process. Any thread. */
#pragma once

/* The core counts these. The last core_deinit waits until no thread of the core is left. */
void core_init(void);
void core_deinit(void);
