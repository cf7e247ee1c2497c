/* SPDX-License-Identifier: Apache-2.0 */
/* The 32-bit murmur2 hash of Java's Kafka client (seed 0x9747b28c), which its default partitioner uses. Pure
 * functions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *data, size_t len);

/* Returns (murmur2(data) & 0x7fffffff) % n, as Java's partitioner does. n > 0. */
int32_t murmur2_slot(const void *data, size_t len, int32_t n);
/* Returns the slot of an id in decimal: a coupon's partition of n partitions, or its lane of n lanes. */
int32_t murmur2_slot_of_id(int64_t id, int32_t n);
