/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/early.h"

#include <stdatomic.h>
#include <string.h>

#include "edge/doorstep/hpack.h"

const struct edge_field *edge_call_field(const struct edge_call *call, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < call->n_fields; i++)
        if (call->fields[i].name_len == len && memcmp(call->fields[i].name, name, len) == 0)
            return &call->fields[i];
    return NULL;
}

bool edge_answer_make(struct edge_answer *ret_answer, const struct edge_header *headers, size_t n) {
    static _Atomic uint64_t last_id;
    uint8_t *at = ret_answer->block;
    const uint8_t *end = ret_answer->block + sizeof ret_answer->block;
    size_t table_bytes = 0;
    if (n > EDGE_ANSWER_FIELDS)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct hpack_text name = {headers[i].name, strlen(headers[i].name)};
        const struct hpack_text value = {headers[i].value, strlen(headers[i].value)};
        ret_answer->starts[i] = (uint16_t)(at - ret_answer->block);
        at = hpack_put_literal(at, end, true, name, value);
        if (!at)
            return false;
        table_bytes += name.len + value.len + HPACK_OVERHEAD;
    }
    ret_answer->n_fields = (uint16_t)n;
    ret_answer->len = (uint16_t)(at - ret_answer->block);
    ret_answer->table_bytes = (uint16_t)table_bytes;
    ret_answer->id = atomic_fetch_add(&last_id, 1) + 1;
    return true;
}
