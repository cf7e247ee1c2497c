/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that a service has taken on the doorstep, from then until they are answered.
 *
 * Lock. The lock of the connection's cork guards the calls of a connection and the frames that answer them. A call is
 * linked to its doorstep for as long as its client waits. Its answer unlinks it, as does a reset of the stream or the
 * end of the connection. So an answer that finds its call linked also finds the connection.
 *
 * Window. A client limits the bytes of DATA that it will get on the connection, and grants more as it reads them. The
 * core would send all that it knows to be granted, so our answers need a part that it does not know of:
 *
 *   kept       of each grant, the part that the core does not hear of
 *   promised   the part of it that taken calls may need for their answers
 *
 * Where nothing is left to be promised, calls go to the core. A client grants more once it has read a part of its
 * window, often a half of it. If we kept too much, the core could run out of window before the client has read that
 * part; so we keep a quarter of it at most. */
#include "base/memory.h"
#include "edge/doorstep/pass.h"

#define WINDOW_FIRST 65535 /* HTTP/2's default */
#define KEPT_SHARE   4     /* one part of so many is kept */

/* --- the window --- */

bool window_has_room(const struct doorstep *doorstep, size_t request_len) {
    const struct window *window = &doorstep->window;
    const struct edge_early *early = &doorstep->door->early;
    size_t most = early->answer_bytes + request_len;
    return early->answer_bytes > 0 && most <= REPLY_MESSAGE_MAX && !doorstep->has_small_window &&
           atomic_load(&window->n_taken) < early->taken_max &&
           atomic_load(&window->kept) - atomic_load(&window->promised) >= (int64_t)most;
}

uint32_t window_grant(struct doorstep *doorstep, uint32_t n, uint64_t core_bytes, bool keeps) {
    struct window *window = &doorstep->window;
    window->granted += n;
    int64_t now = WINDOW_FIRST + window->granted - (int64_t)core_bytes - atomic_load(&window->used);
    window->widest = now > window->widest ? now : window->widest;
    int64_t more = window->widest / KEPT_SHARE - atomic_load(&window->kept);
    more = !keeps || more < 0 ? 0 : more < n ? more : n;
    atomic_fetch_add(&window->kept, more);
    return n - (uint32_t)more;
}

/* The answer has this many bytes of DATA, or there is none. */
static void settle(struct doorstep *doorstep, const struct edge_taken *taken, size_t len) {
    struct window *window = &doorstep->window;
    atomic_fetch_sub(&window->kept, (int64_t)len);
    atomic_fetch_add(&window->used, (int64_t)len);
    atomic_fetch_sub(&window->n_taken, 1);
    atomic_fetch_sub(&window->promised, (int64_t)taken->promised); /* last: the difference must not seem too large */
}

/* --- calls; cork's lock held --- */

static struct edge_taken **bucket_of(struct doorstep *doorstep, uint32_t stream) {
    return &doorstep->taken[stream / 2 % TAKEN_BUCKETS];
}

void taken_link(struct doorstep *doorstep, struct edge_taken *taken) {
    if (!doorstep->taken)
        doorstep->taken = memory_new(TAKEN_BUCKETS, sizeof(struct edge_taken *));
    struct edge_taken **bucket = bucket_of(doorstep, taken->stream);
    taken->next = *bucket;
    taken->self = bucket;
    if (taken->next)
        taken->next->self = &taken->next;
    *bucket = taken;
    atomic_fetch_add(&doorstep->window.promised, (int64_t)taken->promised);
    atomic_fetch_add(&doorstep->window.n_taken, 1);
}

static void unlink_it(struct edge_taken *taken, size_t answer_len) {
    settle(taken->doorstep, taken, answer_len);
    *taken->self = taken->next;
    if (taken->next)
        taken->next->self = taken->self;
    taken->doorstep = NULL;
}

/* --- clients that do not wait --- */

/* Lets go of a call of the bucket, and tells its service. `stream` 0: of any. False: there is none. */
static bool let_go(struct doorstep *doorstep, struct cork *cork, int fd, struct edge_taken **bucket, uint32_t stream) {
    const struct edge_early *early = &doorstep->door->early;
    cork_open(cork, fd);
    struct edge_taken *taken = *bucket;
    while (taken && stream != 0 && taken->stream != stream)
        taken = taken->next;
    if (taken) {
        unlink_it(taken, 0);
        early->keep(taken);
    }
    cork_shut(cork, fd);
    if (taken)
        early->on_gone(taken);
    return taken != NULL;
}

void taken_reset(struct doorstep *doorstep, struct cork *cork, int fd, uint32_t stream) {
    if (doorstep->taken && stream != 0)
        let_go(doorstep, cork, fd, bucket_of(doorstep, stream), stream);
}

void doorstep_part(struct doorstep *doorstep, struct cork *cork, int fd) {
    if (!doorstep || !doorstep->taken)
        return;
    for (size_t i = 0; i < TAKEN_BUCKETS; i++)
        while (let_go(doorstep, cork, fd, &doorstep->taken[i], 0))
            ;
}

/* --- answers --- */

/* The headers and trailers of all answers with a message, unless these have others of their own. */
static struct edge_answer plain_head, plain_trailers;

static void make_plain(void) {
    edge_answer_make(&plain_head, &(struct edge_header){"content-type", "application/grpc"}, 1);
    edge_answer_make(&plain_trailers, &(struct edge_header){"grpc-status", "0"}, 1);
}

struct writer {
    struct doorstep *doorstep;
    struct cork *cork;
    uint32_t stream;
    struct reply_use use;
    uint8_t room[REPLY_ONCE_MAX];
};

/* Puts a header block: the plain one, or the reply's own headers behind those that the plain one has. */
static void put_block(struct writer *writer, const struct edge_answer *plain, const struct edge_header *own,
                      size_t n_own, enum reply_part part) {
    size_t len;
    if (plain && n_own == 0)
        len = reply_write(&writer->doorstep->replies, plain, writer->use, writer->stream, part, writer->room);
    else
        len = reply_write_once(own, n_own, writer->use, writer->stream, part, writer->room);
    cork_put_soon(writer->cork, writer->room, len);
}

static void put_reply(struct writer *writer, const struct edge_reply *reply) {
    if (!reply->message) {
        put_block(writer, NULL, reply->head, reply->n_head, REPLY_WHOLE);
        return;
    }
    put_block(writer, &plain_head, reply->head, reply->n_head, REPLY_HEAD);
    cork_put_soon(writer->cork, writer->room,
                  reply_write_message(reply->message, reply->len, writer->stream, writer->room));
    put_block(writer, &plain_trailers, reply->tail, reply->n_tail, REPLY_TRAILERS);
}

bool edge_taken_answer(struct edge_taken *taken, const struct edge_reply *reply) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_plain);
    bool is_between = cork_open(taken->cork, taken->fd);
    struct doorstep *doorstep = taken->doorstep;
    if (doorstep) {
        struct reply_use use = reply_use_of(doorstep, &taken->cork->outgoing);
        /* An answer that has to wait must not depend on what the client's table has now. */
        use.n_blocks = is_between ? use.n_blocks : 0;
        struct writer writer = {
            .doorstep = doorstep,
            .cork = taken->cork,
            .stream = taken->stream,
            .use = use,
        };
        put_reply(&writer, reply);
        unlink_it(taken, reply->message ? reply->len : 0);
        if (doorstep->frames)
            frames_wrote(doorstep->frames);
    }
    cork_shut(taken->cork, taken->fd);
    return doorstep != NULL;
}
