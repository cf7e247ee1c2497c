/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that must be had.
 *
 * The policy for memory that is not to be had stands here and nowhere else: the process prints one line and aborts. It
 * does not limp on. Everything a client was told is in Postgres by then, so a restart (by systemd, or whatever watches
 * the process) loses nothing, whereas code for going on without memory would never be tested. All other files allocate
 * through these functions and never check for NULL.
 *
 * Any thread. Free with free(). */
#pragma once

#include <stddef.h>

/* `n` objects of `size` bytes, zeroed; n may be 0. */
void *memory_new(size_t n, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(1, 2)));
/* Changes the size of `memory` (NULL: makes new) to `n` objects of `size` bytes. The added part is not zeroed. */
void *memory_resize(void *memory, size_t n, size_t size) __attribute__((returns_nonnull, alloc_size(2, 3)));
/* A copy of a string. */
char *memory_copy(const char *text) __attribute__((returns_nonnull, malloc));
/* For memory that a library did not get: passes `memory` through, or ends the process where it is NULL. */
void *memory_must(void *memory) __attribute__((returns_nonnull));
