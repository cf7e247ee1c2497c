/* SPDX-License-Identifier: Apache-2.0 */
/* An input of the fuzzers: FUZZ_HEAD bytes that say how the rest is to be taken, and the bytes of a message as they
 * come from a client. byte 0   which message, modulo fuzz_messages byte 1   bits 0-1: the compression, as the core
 * counts it; bits 2-3: into how many pieces less one the bytes are cut
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_HEAD 2

extern const size_t fuzz_messages;
extern const ProtobufCMessageDescriptor *const fuzz_descriptors[];
/* libFuzzer's name for it. Aborts where something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the steps of the flow read of a request's texts; fuzz_texts.c. */
void fuzz_page(int32_t page_size, const char *page_token);
void fuzz_traceparent(const char *value, size_t len);
