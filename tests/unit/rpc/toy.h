/* SPDX-License-Identifier: Apache-2.0 */
/* A toy service on the bridge, a server and a client for it.
 *
 * The request's text chooses what a method does:
 *   Echo     "fail…"    ends with ABORTED, message "no", details TOY_DETAILS
 *            "hold…"    is kept for toy_take_held; its cancelling is counted, and answered for "hold-obedient"
 *            "twice"    is answered three times: by itself, "again", and an error
 *            "null"     is answered with NULL
 *            "meta…"    is answered with headers x-toy-header(-bin) and the trailer x-toy-trailer-bin
 *            "gzip…", "deflate…"  is answered compressed, with number = whether the request came compressed
 *            else       is answered by itself, with number = the deadline in us from now, or -1
 *   List     "hold…"    as above; else `number` notes numbered from 0, then "fail…" ends with ABORTED, else OK
 *   Collect  "fail…"    ends with ABORTED; else the sum of the numbers at the client's end; one such call per toy
 *   Chat     "fail…"    ends with ABORTED; else each note is answered by itself
 *            "hello…"   and a last note "bye" follows at the client's end
 *            "pause…"   is kept for toy_take_held, and nothing more is read
 *            "meta…"    is answered with headers alone, and trailers in the end */
#pragma once

#include <criterion/criterion.h>
#include <pthread.h>

#include "rpc/client.h"
#include "rpc/server.h"
#include "toy.pb-c.h"

#define TOY_DETAILS     "\x08\x0a\0binary"
#define TOY_DETAILS_LEN (sizeof TOY_DETAILS - 1)
#define TOY_WAIT_MS     20000 /* how long a test waits for an event */
/* With TOY_TAKEN in the environment, calls of Echo are taken before the core. */
#define TOY_ANSWER_BYTES 2000

enum { TOY_ECHO, TOY_LIST, TOY_COLLECT, TOY_CHAT };
extern const struct rpc_method TOY_METHODS[4];

struct toy_held {
    struct toy_held *next;
    struct toy *toy;
    struct rpc_call *call;
    const Toy__V1__Note *input;
    Toy__V1__Note_Closure closure;
    bool is_stream;
};

struct toy {
    Toy__V1__Toy_Service service; /* first */
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_channel *channel;
    ProtobufCService *stub;
    ProtobufCService *health_stub;

    /* for Collect, on its poller's thread */
    int64_t collected;
    Toy__V1__Note_Closure collect_closure;
    struct rpc_call *collect_call;

    pthread_mutex_t lock; /* guards the rest; `changed` signals any change */
    pthread_cond_t changed;
    struct toy_held *held;
    int cancels;
    int ends[RPC_CODES]; /* how many calls ended with each code */
    char last_end[200];  /* "service method CODE" */
};

/* The descriptor set of toy.proto and the bridge's own services. Never freed. */
const unsigned char *toy_descriptor_set(size_t *ret_size);
struct rpc_server_options toy_options(struct toy *toy);
/* Serves on a free port of 127.0.0.1, with health and reflection, and makes a client. `options` NULL: toy_options. */
struct toy *toy_new(const struct rpc_server_options *options);
/* Stops the server, without grace for a new toy, and frees everything. */
void toy_free(struct toy *toy);
/* Takes the last held call that was not taken yet; waits until there is one. */
struct toy_held *toy_take_held(struct toy *toy);
/* Answers a held call: a unary one, or a stream with its only message. */
void toy_answer(struct toy_held *held, const char *text);
int toy_cancels(struct toy *toy);
void toy_wait_for_cancels(struct toy *toy, int n);
/* Waits until `n` calls have ended with that code. */
void toy_wait_for_ends(struct toy *toy, int code, int n);
void toy_wait_for_in_flight(struct toy *toy, int64_t n);

/* A call and its result. */
struct toy_call {
    struct rpc_client_call call; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n_messages;
    int64_t numbers[1000]; /* of the messages */
    char text[200];        /* of the last message */
    int64_t number;
    bool is_compressed;
    char trailer[20]; /* x-toy-trailer-bin */
    size_t trailer_len;
    int n_headers;      /* for the test's on_headers */
    int64_t number_out; /* for the test's on_drained */
    bool is_done;
    int code;
    char message[1000];
    char details[1000];
    size_t details_len;
};

/* A call that has not begun, so that its inputs may be set. */
struct toy_call *toy_call_new(void);
void toy_call_begin(struct toy *toy, struct toy_call *call, unsigned method, const char *text, int64_t number);
/* Begins a stream without a message. */
struct toy_call *toy_call_open(struct toy *toy, unsigned method);
struct toy_call *toy_call_start(struct toy *toy, unsigned method, const char *text, int64_t number, int64_t timeout_ms);
void toy_call_wait(struct toy_call *call);
bool toy_call_is_done(struct toy_call *call);
void toy_call_wait_for_messages(struct toy_call *call, int n);
void toy_call_free(struct toy_call *call); /* once done */
/* start, wait */
struct toy_call *toy_call_run(struct toy *toy, unsigned method, const char *text, int64_t number);

/* Waits on a condition of `lock` until `ok` holds; fails the test after TOY_WAIT_MS. */
#define TOY_WAIT(owner, ok)                                                                                            \
    do {                                                                                                               \
        struct timespec toy_until = toy_deadline();                                                                    \
        pthread_mutex_lock(&(owner)->lock);                                                                            \
        while (!(ok))                                                                                                  \
            if (pthread_cond_timedwait(&(owner)->changed, &(owner)->lock, &toy_until))                                 \
                cr_assert_fail("waited in vain for: %s", #ok);                                                         \
        pthread_mutex_unlock(&(owner)->lock);                                                                          \
    } while (0)
struct timespec toy_deadline(void);
