/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void *memory_must(void *memory) {
    if (!memory) {
        /* Neither stdio nor the rest of the log, since both may allocate memory. */
        log_last_words("memory.exhausted", NULL);
        abort();
    }
    return memory;
}

void *memory_new(size_t n, size_t size) {
    return memory_must(calloc(n ? n : 1, size ? size : 1));
}

void *memory_resize(void *memory, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = SIZE_MAX; /* realloc fails for this size */
    return memory_must(realloc(memory, bytes ? bytes : 1));
}

char *memory_copy(const char *text) {
    return memory_must(strdup(text));
}
