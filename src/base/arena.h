/* SPDX-License-Identifier: Apache-2.0 */
/* An arena: memory that is freed all at once. A batch or a call allocates from it and frees no single pieces. A reset
 * keeps the blocks, so that a warm arena does not call malloc. One thread at a time. */
#pragma once

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *first, *current;
    size_t block_size;
};

/* `block_size` is the size of blocks in bytes; a larger piece gets its own block. */
void arena_init(struct arena *arena, size_t block_size);
void arena_deinit(struct arena *arena);
/* Returns memory that is aligned for any type and not zeroed. Never NULL (base/memory.h). */
void *arena_alloc(struct arena *arena, size_t size);
/* Returns zeroed memory. */
void *arena_zalloc(struct arena *arena, size_t size);
/* Returns a copy of `text`. */
char *arena_strdup(struct arena *arena, const char *text);
/* Invalidates all pieces. Keeps the blocks, except oversized ones. */
void arena_reset(struct arena *arena);

#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))
