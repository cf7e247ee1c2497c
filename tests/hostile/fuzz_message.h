/* SPDX-License-Identifier: Apache-2.0 */
/* An input of the fuzzers: a head of FUZZ_HEAD bytes, then the bytes of a message as they come from a client.
 *
 *   byte 0   which message, modulo fuzz_messages
 *   byte 1   bits 0-1: the compression, numbered as in the core
 *            bits 2-3: the number of pieces that the bytes are cut into, less one */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_HEAD 2

extern const size_t fuzz_messages;
extern const ProtobufCMessageDescriptor *const fuzz_descriptors[];
/* libFuzzer requires this name. Aborts on a violation. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read texts of a request as the steps of the flow do; see fuzz_texts.c. */
void fuzz_page(int32_t page_size, const char *page_token);
void fuzz_traceparent(const char *value, size_t len);
