/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of a Redis Cluster: a key's slot is CRC16 of the key, modulo 16,384. If the key has a pair of braces with
 * something between them, only that part counts. Pure functions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define REDIS_SLOTS 16384

/* CRC-16/XMODEM: polynomial 0x1021, initial value 0. */
uint16_t redis_crc16(const char *bytes, size_t len);
unsigned redis_slot(const char *key);
