/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that never returns NULL. This is the one policy for exhausted memory: the process prints one line and
 * aborts. All other files allocate by these functions and do not check for NULL.
 *
 * A restart by systemd or another supervisor loses nothing, since every answer that a client got is in Postgres. Code
 * that continues without memory could hardly be tested.
 *
 * Any thread. Free with free(). */
#pragma once

#include <stddef.h>

/* Returns zeroed memory for `n` objects of `size` bytes; n may be 0. */
void *memory_new(size_t n, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(1, 2)));
/* Resizes `memory`, which may be NULL, to `n` objects of `size` bytes. The added part is not zeroed. */
void *memory_resize(void *memory, size_t n, size_t size) __attribute__((returns_nonnull, alloc_size(2, 3)));
/* Returns a copy of a string. */
char *memory_copy(const char *text) __attribute__((returns_nonnull, malloc));
/* Returns `memory`, or aborts if it is NULL. For results of other functions that allocate. */
void *memory_must(void *memory) __attribute__((returns_nonnull));
