/* SPDX-License-Identifier: Apache-2.0 */
/* How statements find the rows that each batch updates.
 *
 * While somebody holds an old snapshot, as a backup does, Postgres keeps every version of such a row. A look-up by key
 * visits the versions in the order in which they were stored. After ten minutes there are tens of thousands, and the
 * one that counts is the last. A range of one key, read backwards, gives that one first. (An equality does not:
 * Postgres ignores the order of the rows that it selects.)
 *
 * An update names the row by the ctid found in this way. It misses the row if another transaction changes it meanwhile,
 * so an earlier statement of the transaction must have locked the row. */
#pragma once

/* Conditions of a subquery without others. The statement calls the keys that it looks for i (coupon_id), i (topic,
 * partition) or i (lane); a lane's stream is $1. */
#define NEWEST_OF_COUPON " where coupon_id >= i.coupon_id and coupon_id <= i.coupon_id order by coupon_id desc limit 1"
#define NEWEST_OF_PLACE                                                                                                \
    " where (topic, partition) >= (i.topic, i.partition) and (topic, partition) <= (i.topic, i.partition)"             \
    " order by topic desc, partition desc limit 1"
#define NEWEST_OF_LANE                                                                                                 \
    " where (stream, lane) >= ($1, i.lane) and (stream, lane) <= ($1, i.lane) order by stream desc, lane desc limit 1"
