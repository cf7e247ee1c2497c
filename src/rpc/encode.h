/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes values for headers as gRPC does. Stateless. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gRPC's percent-encoding: printable ASCII stays as it is. Writes what fits into `size` bytes, and a NUL. False: not
 * all of it did. */
bool percent_encode(const char *text, char *room, size_t size);
/* Base64 without padding, as binary metadata are sent. `room` has BASE64_SIZE(len) bytes. */
#define BASE64_SIZE(len) (4 * ((len) + 2) / 3 + 4)
void base64_encode(const uint8_t *bytes, size_t len, char *room);
