/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once: a batch or a call allocates from it without freeing single pieces.
 * One thread at a time. After a reset its blocks are kept, so that a warm arena never calls malloc. */
#pragma once

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *first, *current;
    size_t block_size;
};

/* `block_size`: bytes asked from malloc at a time; a larger piece gets a block of its own. */
void arena_init(struct arena *arena, size_t block_size);
void arena_deinit(struct arena *arena);
/* Aligned for any type, not zeroed. Aborts when memory is exhausted. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* A copy of `text` with its NUL. */
char *arena_strdup(struct arena *arena, const char *text);
/* Makes all pieces invalid and keeps the blocks (but frees oversized ones). */
void arena_reset(struct arena *arena);

#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))
