/* SPDX-License-Identifier: Apache-2.0 */
/* JSON for the console. Numbers of 64 bits that name something are strings, since JavaScript's numbers have 53 bits. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

/* Members of an object, each with a comma behind it; json_close replaces the last comma. */
void json_text(struct strbuf *out, const char *name, const char *value);
void json_id(struct strbuf *out, const char *name, int64_t value); /* as a string */
void json_int(struct strbuf *out, const char *name, int64_t value);
void json_number(struct strbuf *out, const char *name, double value); /* null if it is not finite */
void json_bool(struct strbuf *out, const char *name, bool value);
void json_time(struct strbuf *out, const char *name, int64_t wall_us); /* RFC 3339 */
void json_open(struct strbuf *out, const char *name, char bracket);    /* { or [; `name` NULL: within an array */
void json_close(struct strbuf *out, char bracket);                     /* } or ], with a comma behind it */

void json_end(struct strbuf *out); /* closes the whole object, with no comma */

/* Adds the message as protobuf's JSON mapping has it, but with the names of the .proto, enums without their prefix, and
 * all fields that have a value, 0 and "" included. */
void json_message(struct strbuf *out, const ProtobufCMessage *message);
