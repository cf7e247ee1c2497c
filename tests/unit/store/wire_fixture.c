/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_fixture.h"

struct arena arena;
struct wire *wire;
struct pg *pg;

void wire_set_up(void) {
    arena_init(&arena, 4096);
    wire = wire_new();
    pg = wire_pg(wire);
}

void wire_tear_down(void) {
    pg_free(pg);
    wire_free(wire);
    arena_deinit(&arena);
}
