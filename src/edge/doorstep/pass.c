/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/doorstep/pass.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static pthread_key_t scratch_key;

static void make_key(void) {
    if (pthread_key_create(&scratch_key, free) != 0)
        abort(); /* the process has 1,024 of them */
}

struct scratch *scratch_of_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    struct scratch *scratch = pthread_getspecific(scratch_key);
    if (!scratch) {
        scratch = memory_new(1, sizeof *scratch);
        pthread_setspecific(scratch_key, scratch);
    }
    return scratch;
}

static size_t fill(struct doorstep_room *room, const uint8_t *bytes, size_t len) {
    size_t done = 0;
    while (done < len && room->at < room->n) {
        struct iovec *piece = &room->pieces[room->at];
        size_t n = piece->iov_len - room->used < len - done ? piece->iov_len - room->used : len - done;
        memcpy((uint8_t *)piece->iov_base + room->used, bytes + done, n);
        done += n;
        room->used += n;
        if (room->used == piece->iov_len) {
            room->at++;
            room->used = 0;
        }
    }
    room->total += done;
    return done;
}

void pass_give(struct pass *pass, const uint8_t *bytes, size_t len) {
    struct doorstep *doorstep = pass->doorstep;
    size_t done = doorstep->more_len == 0 ? fill(pass->room, bytes, len) : 0;
    if (done == len)
        return;
    doorstep->more = memory_resize(doorstep->more, doorstep->more_len + len - done, 1);
    memcpy(doorstep->more + doorstep->more_len, bytes + done, len - done);
    doorstep->more_len += len - done;
}

bool doorstep_has_more(const struct doorstep *doorstep) {
    return doorstep->more_len > 0;
}

void doorstep_give(struct doorstep *doorstep, struct doorstep_room *room) {
    doorstep->more_at += fill(room, doorstep->more + doorstep->more_at, doorstep->more_len - doorstep->more_at);
    if (doorstep->more_at < doorstep->more_len)
        return;
    free(doorstep->more);
    doorstep->more = NULL;
    doorstep->more_len = doorstep->more_at = 0;
}

bool frame_at(const struct pass *pass, size_t at, struct frame *ret_frame) {
    const uint8_t *header = pass->in + at;
    if (pass->len - at < HEADER_LEN)
        return false;
    size_t len = get_u32(header) >> 8;
    *ret_frame = (struct frame){
        .payload = header + HEADER_LEN,
        .len = len,
        .size = HEADER_LEN + len,
        .type = header[3],
        .flags = header[4],
        .stream = get_u32(header + STREAM_AT) & 0x7fffffff,
        .is_whole = pass->len - at - HEADER_LEN >= len,
    };
    return true;
}
