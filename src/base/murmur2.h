/* SPDX-License-Identifier: Apache-2.0 */
/* murmur2 as Java's Kafka client has it (seed 0x9747b28c, 32 bit), the hash behind its default partitioner. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *data, size_t len);

/* (murmur2(data) & 0x7fffffff) % n, as Java's partitioner: the partition of a key, the lane of a coupon. n > 0. */
int32_t murmur2_slot(const void *data, size_t len, int32_t n);
/* The same for an id in decimal. */
int32_t murmur2_slot_of_id(int64_t id, int32_t n);
