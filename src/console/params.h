/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the query of an HTTP request as the fields of a message. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "http/request.h"

/* Fields may be integers, booleans (true, false) and strings. Fails where a parameter is no field of the message, or
 * its value does not suit the field. The message lives in the arena, its strings as long as the request. */
bool params_read(const struct http_request *request, const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                 ProtobufCMessage **ret_message, struct err *err);
/* Reads an integer that is not negative. */
bool params_int(const char *text, int64_t *ret);
