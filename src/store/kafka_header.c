/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a message, which librdkafka decodes when they are first asked for. */
#include <librdkafka/rdkafka.h>

#include "store/kafka.h"

const char *kafka_header(const struct kafka_message *message, const char *name, size_t *ret_len) {
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    if (!message->handle || rd_kafka_message_headers(message->handle, &headers) ||
        rd_kafka_header_get_last(headers, name, &value, &len) || !value)
        return NULL;
    *ret_len = len;
    return value;
}
