/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_slots.h"

#include <string.h>

#define POLYNOMIAL 0x1021u

uint16_t redis_crc16(const char *bytes, size_t len) {
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000u ? crc << 1 ^ POLYNOMIAL : crc << 1;
        crc &= 0xffffu;
    }
    return (uint16_t)crc;
}

unsigned redis_slot(const char *key) {
    const char *open = strchr(key, '{'), *close = open ? strchr(open, '}') : NULL;
    if (close && close > open + 1)
        return redis_crc16(open + 1, (size_t)(close - open - 1)) % REDIS_SLOTS;
    return redis_crc16(key, strlen(key)) % REDIS_SLOTS;
}
