/* SPDX-License-Identifier: Apache-2.0 */
/* A bed for tests of the doorstep: a client that writes frames, one connection, and a service.
 *
 * The request is a number. Even ones are refused (status 9), one more than a multiple of 4 is taken and kept until the
 * test answers it, and the others go to the core. One thread, one bed at a time. */
#pragma once

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/doorstep/doorstep.h"
#include "edge/early.h"
#include "edge/http2.h"

#define BED_BUFFER_BYTES 8192 /* a read of the edge */
#define BED_PORT         7
#define BED_PATH         "/coupon.v1.CouponService/RequestPublish"
#define BED_ANSWER_BYTES 300 /* that an answer may have beyond its request */
#define BED_TAKEN_MAX    200
#define BYTES_MAX        (1 << 20)

/* What a client has written. Zeroed at first. */
struct written {
    uint8_t bytes[BYTES_MAX];
    size_t len;
    uint64_t granted; /* bytes of DATA, besides the first window */
};
void put(struct written *out, const void *bytes, size_t len);
void put_frame(struct written *out, enum http2_type type, int flags, uint32_t stream, const void *payload, size_t len);
/* The fields of a call, all literals: not to be remembered, or to be. Returns the end. */
uint8_t *put_call(uint8_t *at, const uint8_t *end, bool remember, const char *path);
void put_headers(struct written *out, uint32_t stream, const char *path);
void put_request(struct written *out, uint32_t stream, uint32_t number);
/* Grants bytes of DATA for the connection. */
void put_grant(struct written *out, uint32_t n);

/* The core's first frame. */
void core_begins(struct cork *cork, int fd);

/* A call that was taken. */
struct bed_call {
    struct edge_taken taken; /* first */
    int n_kept, n_gone;
};

struct bed {
    struct written out; /* what the client has yet to send */
    struct cork cork;
    struct doorstep *doorstep;
    int fds[2]; /* the server's end, the client's */
    uint8_t core[BYTES_MAX];
    size_t core_len;
    struct bed_call calls[BED_TAKEN_MAX];
    int n_calls, n_refused;
};

void bed_open_door(void);
/* The client has written its preface and settings. */
struct bed *bed_new(void);
void bed_free(struct bed *bed);
/* The client's bytes reach the doorstep; false: it cuts the client off. */
bool bed_sends(struct bed *bed);
/* Whether the core has a frame of that type and stream. */
bool core_has(const struct bed *bed, enum http2_type type, uint32_t stream);
/* What the client can read now. Returns the length. */
size_t bed_reads(struct bed *bed, uint8_t *room, size_t size);
/* Answers a taken call with a message of `len` bytes, with its prefix; 0: with an error. */
bool bed_answers(struct bed_call *call, size_t len);
