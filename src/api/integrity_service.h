/* IntegrityService: follows one coupon from the ledger to the topics and says of each station whether it fits what
 * comes before. One call at a time, on a thread of its own: it may scan many rows and read whole partitions. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "config/config.h"
#include "store/kafka.h"
#include "store/pg.h"

struct verify;

struct verify *verify_start(const struct config *config, const struct pg_options *postgres,
                            const struct kafka_options *kafka, struct kafka_admin *kafka_admin, struct err *err);
ProtobufCService *verify_service_base(struct verify *verify);
void verify_stop(struct verify *verify); /* NULL is fine */
