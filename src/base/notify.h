/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the service manager about the process, by the protocol of sd_notify(3): a datagram to the socket that
 * $NOTIFY_SOCKET names. It takes a few lines, so libsystemd is not needed. Any thread. */
#pragma once

#include <stdint.h>

/* Sends e.g. "READY=1". Does nothing if no service manager asks for it. Waits for up to 1 s. */
void notify(const char *state);
/* How often the service manager wants to get "WATCHDOG=1" at least, in us; 0: never. */
int64_t notify_watchdog_us(void);
