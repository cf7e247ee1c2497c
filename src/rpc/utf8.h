/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the string fields of a serialized message before it is decoded. Stateless. */
#pragma once

#include "base/arena.h"
#include "rpc/rpc.h"
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Walks the wire format of a message and collects its string fields that have a NUL or are not UTF-8; their paths are
 * in `arena`. False: the message is malformed, or nested deeper than protobuf's own limit. */
bool message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, struct arena *arena,
                   struct rpc_bad_fields *ret);
/* Whether the bytes are valid UTF-8 without NUL. If not, *ret_has_nul says which of the two is wrong. */
bool utf8_check(const uint8_t *bytes, size_t len, bool *ret_has_nul);
