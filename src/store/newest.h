/* SPDX-License-Identifier: Apache-2.0 */
/* How statements find the rows that each batch updates. While somebody holds an old snapshot, as a backup does, Postgres
 * keeps every version of such a row, and a look-up by key visits them in the order in which they were stored: after ten
 * minutes these are tens of thousands, and the one that counts is the last. By a range of one key, read backwards, it comes
 * first. (Postgres ignores the order of rows that an equality has selected.)
 *
 * An update names the row by the ctid found in this way. If another transaction changes the row meanwhile, such an update
 * misses it, so an earlier statement of the transaction must have locked the row. */
#pragma once

/* Clauses for a subquery without other conditions. */
#define NEWEST_BY_COUPON(id)       "coupon_id >= " id " and coupon_id <= " id " order by coupon_id desc limit 1"
#define NEWEST_BY_LANE(stream, at) NEWEST_BY_TWO("stream", "lane", stream, at)
#define NEWEST_BY_TWO(a, b, x, y)                                                                                      \
    "(" a ", " b ") >= (" x ", " y ") and (" a ", " b ") <= (" x ", " y ") order by " a " desc, " b " desc limit 1"
