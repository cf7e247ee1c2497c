/* SPDX-License-Identifier: Apache-2.0 */
/* murmur2; see murmur2.h. The results equal those of org.apache.kafka.common.utils.Utils.murmur2: the input is read as
 * little-endian words on every machine, and all arithmetic wraps at 32 bits. */
#include "base/murmur2.h"

#include "base/decimal.h"

#define SEED       0x9747b28cu
#define MULTIPLIER 0x5bd1e995u

static uint32_t read_le32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t murmur2(const void *data, size_t len) {
    const unsigned char *p = data;
    uint32_t h = SEED ^ (uint32_t)len;
    size_t rest = len;
    for (; rest >= 4; rest -= 4, p += 4) {
        uint32_t k = read_le32(p) * MULTIPLIER;
        k ^= k >> 24;
        h = h * MULTIPLIER ^ k * MULTIPLIER;
    }
    if (rest > 0) {
        for (size_t i = 0; i < rest; i++)
            h ^= (uint32_t)p[i] << (8 * i);
        h *= MULTIPLIER;
    }
    h ^= h >> 13;
    h *= MULTIPLIER;
    h ^= h >> 15;
    return h;
}

int32_t murmur2_slot(const void *data, size_t len, int32_t n) {
    return (int32_t)(murmur2(data, len) & 0x7fffffffu) % n;
}

int32_t murmur2_slot_of_id(int64_t id, int32_t n) {
    char text[DECIMAL_MAX];
    return murmur2_slot(text, decimal_write(id, text), n);
}
