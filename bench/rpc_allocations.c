/* SPDX-License-Identifier: Apache-2.0 */
/* This program's malloc, calloc and realloc replace libc's in the whole process, and call them. The return address
 * tells which library allocates. We do not count other functions (posix_memalign and the like), because neither the
 * core nor the bridge uses them in a call. */
#include "rpc_allocations.h"

#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
extern const char __executable_start, etext; /* symbols of the linker: the bounds of the program's own code */

static atomic_bool is_counting;
static _Atomic int64_t n_own, n_all;

static void count(const void *caller) {
    if (!atomic_load_explicit(&is_counting, memory_order_relaxed))
        return;
    atomic_fetch_add_explicit(&n_all, 1, memory_order_relaxed);
    if ((const char *)caller >= &__executable_start && (const char *)caller < &etext)
        atomic_fetch_add_explicit(&n_own, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    count(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    count(__builtin_return_address(0));
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    count(__builtin_return_address(0));
    return __libc_realloc(old, size);
}

void allocations_count(void) {
    atomic_store(&is_counting, true);
}

struct allocations allocations_so_far(void) {
    return (struct allocations){.own = atomic_load(&n_own), .all = atomic_load(&n_all)};
}
