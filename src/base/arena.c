/* SPDX-License-Identifier: Apache-2.0 */
/* The arena; see arena.h.
 *
 * Blocks form a list, and pieces come from the `current` block. If a piece does not fit, the next block becomes
 * current; the blocks after the current one are empty ones that a reset has kept. A piece larger than block_size gets
 * its own block, which a reset frees, since such a size is rare. Under AddressSanitizer, unused memory is poisoned,
 * which reveals the use of a piece after a reset. */
#include "base/arena.h"
#include "base/memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include) && __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* the size of `bytes`, and how much of it is in use */
    alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *block_new(size_t size) {
    struct arena_block *block = memory_resize(NULL, sizeof *block + size, 1);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    ASAN_POISON_MEMORY_REGION(block->bytes, size);
    return block;
}

static void block_free(struct arena_block *block) {
    ASAN_UNPOISON_MEMORY_REGION(block->bytes, block->size);
    free(block);
}

static size_t round_up(size_t size) {
    const size_t alignment = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        abort(); /* a defect: such a size comes from an overflow */
    return (size + alignment - 1) / alignment * alignment;
}

static void *block_take(struct arena_block *block, size_t size) {
    void *piece = block->bytes + block->used;
    block->used += round_up(size);
    ASAN_UNPOISON_MEMORY_REGION(piece, size);
    return piece;
}

/* Inserts `block` after the current one. The first block becomes current. */
static void insert(struct arena *arena, struct arena_block *block) {
    if (!arena->current) {
        arena->first = arena->current = block;
        return;
    }
    block->next = arena->current->next;
    arena->current->next = block;
}

void arena_init(struct arena *arena, size_t block_size) {
    *arena = (struct arena){.block_size = round_up(block_size > 0 ? block_size : 1)};
}

void arena_deinit(struct arena *arena) {
    if (!arena)
        return;
    for (struct arena_block *block = arena->first; block;) {
        struct arena_block *next = block->next;
        block_free(block);
        block = next;
    }
    arena->first = arena->current = NULL;
}

void *arena_alloc(struct arena *arena, size_t size) {
    size_t rounded = round_up(size > 0 ? size : 1);
    if (rounded > arena->block_size) {
        struct arena_block *own = block_new(rounded);
        insert(arena, own);
        return block_take(own, size);
    }
    while (!arena->current || arena->current->size - arena->current->used < rounded) {
        if (!arena->current || !arena->current->next)
            insert(arena, block_new(arena->block_size));
        if (arena->current->next)
            arena->current = arena->current->next;
    }
    return block_take(arena->current, size > 0 ? size : 1);
}

void *arena_zalloc(struct arena *arena, size_t size) {
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_strdup(struct arena *arena, const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(arena, size), text, size);
}

void arena_reset(struct arena *arena) {
    struct arena_block **link = &arena->first;
    while (*link) {
        struct arena_block *block = *link;
        if (block->size > arena->block_size) {
            *link = block->next;
            block_free(block);
            continue;
        }
        block->used = 0;
        ASAN_POISON_MEMORY_REGION(block->bytes, block->size);
        link = &block->next;
    }
    arena->current = arena->first;
}
