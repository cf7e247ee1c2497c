/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons' own topics, as one relay needs them. A thread creates them, because Kafka may take seconds to answer, and
 * the other lanes must not wait for it. A coupon's own topic is in one of these states:
 *
 *   open      the producer has it
 *   awaited   the relay has asked for it, or will; the coupon's lane waits (lane.awaits_topic)
 *   refused   Kafka does not allow it. The coupon uses the shared topic. The relay asks again from time to time.
 *
 * If Kafka can't create a topic at present, the coupon's lane pauses, and the relay then asks again. Only the relay's
 * thread calls these functions. */
#pragma once

#include "flow/relay/lane.h"
#include "store/kafka.h"
#include "store/pg.h"

struct coupon_topics;

struct coupon_topics_options { /* pointers must outlive the object */
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    enum stream stream;
    const char *stream_name;
    int partitions; /* of each topic */
    struct lane *lanes;
    int n_lanes;
    int wake_fd; /* an eventfd, which is written to when topics may be open or refused */
};

bool coupon_topics_start(const struct coupon_topics_options *options, struct coupon_topics **ret_topics,
                         struct err *err);
/* Waits for the creation that is running. NULL is fine. */
void coupon_topics_stop(struct coupon_topics *topics);
/* Asks for the topics that these entries lack. */
void coupon_topics_want(struct coupon_topics *topics, struct arena *arena, const struct kafka_producer *producer,
                        const struct outbox_entry *entries, size_t n);
/* If an answer has come, opens the topics, logs a failure, and sets *ret_any: lanes that have waited may go on. If a
 * topic of the same name was deleted before, the offsets that issue has stored do not hold for the new one, so they are
 * reset. Fails if Postgres does; the answer then stays. */
bool coupon_topics_take(struct coupon_topics *topics, struct pg *pg, struct kafka_producer *producer, bool *ret_any,
                        struct err *err);
bool coupon_topics_is_refused(const struct coupon_topics *topics, int64_t coupon_id);
