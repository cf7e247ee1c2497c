/* SPDX-License-Identifier: Apache-2.0 */
/* A client's bytes on their way past the doorstep; see doorstep.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/doorstep/doorstep.h"
#include "edge/doorstep/hpack.h"
#include "edge/doorstep/reply.h"
#include "edge/http2.h"

#define FRAME_LEN_MAX 16384 /* of what the core gets; HTTP/2's default */
#define AWAITED_MAX   16
#define CALL_TAIL_MAX 2048 /* bytes that are kept for a call that may be answered */
#define TAIL_MAX      (64 << 10)
#define INPUT_MAX     (TAIL_MAX + (32 << 10))
#define FIELDS_MAX    64 /* of a call that may be taken */

/* A server's port. */
struct door {
    atomic_int port; /* 0: free */
    atomic_int n_inside;
    size_t max_metadata_bytes;
    size_t path_len;
    struct edge_early early;
};

/* A header block that was read. */
struct reading {
    bool is_done;
    bool is_call; /* the call may be answered here */
    bool has_insertions;
    uint64_t first_new;
    /* Only if the tail begins with the block: */
    struct hpack_mark mark;
    uint8_t *block; /* as the core gets it; NULL: as it came */
    size_t block_len;
    struct edge_field *fields; /* with their texts behind them */
    size_t n_fields;
};

/* The client's window for the bytes of DATA on the connection. The core counts on less than there is: the rest is for
 * the answers of taken calls. See taken.c. */
struct window {
    _Atomic int64_t kept;     /* what the core does not count on */
    _Atomic int64_t promised; /* of it, to calls that are taken */
    _Atomic int64_t used;     /* by answers */
    atomic_int n_taken;       /* calls that wait for their answers */
    int64_t granted, widest;  /* by the client's updates; what it was at most */
};

#define TAKEN_BUCKETS 64 /* a power of two */

struct doorstep {
    struct door *door;
    int port;
    struct frames *frames; /* NULL: nobody judges them */
    struct window window;
    struct edge_taken **taken; /* buckets, by stream; NULL until a call is taken. Guarded by the cork's lock */
    struct hpack_table *table; /* NULL until a block comes */
    struct reply_table replies;
    uint8_t *tail, *more; /* more: what did not fit into the core's room */
    size_t tail_len, more_len, more_at;
    struct reading reading; /* of the block that the tail begins with */
    uint32_t credit;
    uint32_t core_stream, answered_stream; /* the newest ones */
    uint32_t pass_left;                    /* bytes of the current frame that go to the core */
    uint32_t awaited[AWAITED_MAX];
    uint8_t n_awaited;
    uint8_t preface_left;
    bool is_off;                /* the core gets everything from now on */
    bool has_small_window;      /* the client lets a stream send less than an answer may have */
    atomic_bool has_less_table; /* the client keeps less of a table than the default */
};

/* Memory of a thread for what it works on. */
struct scratch {
    uint8_t input[INPUT_MAX], gathered[INPUT_MAX], written[INPUT_MAX]; /* gathered: a block in several frames */
    char texts[INPUT_MAX];                                             /* of a block, unpacked */
    struct hpack_block block;
    struct edge_field fields[FIELDS_MAX];
};

/* A client's bytes on their way through. */
struct pass {
    struct doorstep *doorstep;
    struct cork *cork;
    int fd;
    struct doorstep_room *room;
    const uint8_t *in;
    size_t len, at;
    struct scratch *scratch;
    bool is_inside, has_cork, may_put; /* has_cork: the cork is open; may_put: then, for answers */
    uint64_t answered_tag;             /* of the last answers, which are not told yet */
    int64_t n_answered;
};

struct frame {
    const uint8_t *payload;
    size_t len;
    size_t size; /* with its header */
    int type, flags;
    uint32_t stream;
    bool is_whole;
};

enum step { STEP_ON, STEP_WAIT, STEP_WRONG };

static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

struct scratch *scratch_of_thread(void);
/* Gives bytes to the core. */
void pass_give(struct pass *pass, const uint8_t *bytes, size_t len);
/* The frame that begins there; false: its header is not complete. */
bool frame_at(const struct pass *pass, size_t at, struct frame *ret_frame);

/* Takes the header block that begins with the frame, and answers the call or gives the block to the core. STEP_WAIT:
 * more has to come. STEP_WRONG: the block is wrong. */
enum step take_headers(struct pass *pass, const struct frame *frame);
void forget_reading(struct reading *reading);
/* What a block that is sent now may do with the client's table. */
struct reply_use reply_use_of(const struct doorstep *doorstep, const struct outgoing *outgoing);
/* Tells the service of the last answers. */
void tell_answered(struct pass *pass);

/* --- taken calls; see taken.c --- */

/* Whether the call may be taken, if its service wants it. */
bool window_has_room(const struct doorstep *doorstep, size_t request_len);
/* The client grants n bytes more. Returns how many of them the core hears of: all, unless `keeps`. `core_bytes`: what
 * the core has sent. Only the thread that reads. */
uint32_t window_grant(struct doorstep *doorstep, uint32_t n, uint64_t core_bytes, bool keeps);
/* Links a call that was just taken. Cork's lock held. */
void taken_link(struct doorstep *doorstep, struct edge_taken *taken);
/* The client has reset the stream. */
void taken_reset(struct doorstep *doorstep, struct cork *cork, int fd, uint32_t stream);
