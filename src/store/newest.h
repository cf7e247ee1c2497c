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

/* Clauses for a subquery without other conditions. */
#define NEWEST_BY_COUPON(id)       "coupon_id >= " id " and coupon_id <= " id " order by coupon_id desc limit 1"
#define NEWEST_BY_LANE(stream, at) NEWEST_BY_TWO("stream", "lane", stream, at)
#define NEWEST_BY_TWO(a, b, x, y)                                                                                      \
    "(" a ", " b ") >= (" x ", " y ") and (" a ", " b ") <= (" x ", " y ") order by " a " desc, " b " desc limit 1"
