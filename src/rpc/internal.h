/* What the files of the bridge share; nobody outside src/rpc includes it.
 *
 *   op        what a completion queue hands back: a function, embedded in the object it is about
 *   poller    a completion queue and the one thread that takes from it
 *   service   a served ProtobufCService and its methods
 *   own       said of the services that come with the bridge (health, reflection)
 *
 * The core's queues order memory between threads, but by means a race detector can't see. So an op's function is stored
 * again with release just before it is given to the core (op_arm), and loaded with acquire when it comes back. */
#pragma once

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/err.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "rpc/server.h"

#define OWNER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- rpc.c --- */

/* grpc_init and grpc_shutdown, counted by the core. After the last deinit no thread of the core is left. */
void core_init(void);
void core_deinit(void);

/* --- poller.c --- */

struct op;
typedef void op_fn(struct op *op, bool ok); /* runs on the poller's thread */
struct op {
    _Atomic(op_fn *) fn;
};

/* What was done before is visible to fn. Returns the op, as a tag. */
static inline void *op_arm(struct op *op, op_fn *fn) {
    atomic_store_explicit(&op->fn, fn, memory_order_release);
    return op;
}

struct poller {
    /* What there is to do besides events; both may be NULL. `work` does what there is, and returns whether there was
     * any. `tick` comes before waiting, and returns for how many ms at most: 0 where there is work, -1 for ever. */
    bool (*work)(struct poller *poller);
    int (*tick)(struct poller *poller);
    grpc_completion_queue *queue;
    pthread_t thread;
    bool running;
    struct op wake_op;
    grpc_channel *alarm;  /* leads nowhere: that it does not change until now is an event at once */
    pthread_mutex_t lock; /* guards what follows */
    bool is_waiting;      /* or about to: there may be work that it has not seen */
    bool is_waking;       /* an event that ends the wait is on its way */
};

/* Zeroed but for `work` and `tick`. */
void poller_init(struct poller *poller);
bool poller_start(struct poller *poller, struct err *err);
/* There is work for it. Any thread; the poller must stay until this returns. */
void poller_wake(struct poller *poller);
/* Whether this thread is its. */
bool poller_is_here(const struct poller *poller);
/* Nothing may be started on the queue from now on. Returns when what was started has been handed to its op; without a
 * running thread the caller's is used. */
void poller_drain(struct poller *poller);
void poller_deinit(struct poller *poller); /* after poller_drain */

/* --- message.c --- */

/* An arena that held the pieces of a message with more bytes than this is not kept: pools are for what is usual. */
#define LARGE_MESSAGE_BYTES 4096

/* The serialized message, owned by the caller. */
grpc_byte_buffer *message_pack(const ProtobufCMessage *message);
bool message_is_compressed(const grpc_byte_buffer *buffer);
/* The bytes of `buffer`, decompressed, in one piece: its own where it has just one slice (so it must stay), else in
 * `arena`. */
enum message_bytes_result {
    MESSAGE_OK,
    MESSAGE_TOO_LARGE, /* more than `max` bytes */
    MESSAGE_BROKEN,    /* it can't be decompressed */
};
enum message_bytes_result message_bytes(const grpc_byte_buffer *buffer, size_t max, struct arena *arena,
                                        const uint8_t **ret_bytes, size_t *ret_len);
/* Decodes into `arena`; NULL when it can't be decoded. */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 const uint8_t *bytes, size_t len);

/* --- metadata.c --- */

/* Headers or trailers that are sent; room once made is kept. */
struct metadata {
    grpc_metadata *items;
    size_t n, capacity;
};

/* Copies; false where the core would not take it, or where it is reserved. */
bool metadata_add(struct metadata *metadata, const struct rpc_metadatum *datum);
/* Of the core's own, such as grpc-status-details-bin. `key` is static; the value is owned from now on. */
void metadata_add_reserved(struct metadata *metadata, const char *key, grpc_slice value);
/* Messages sent after these headers may be compressed that way. */
void metadata_add_compression(struct metadata *metadata, enum rpc_compression compression);
void metadata_clear(struct metadata *metadata);
void metadata_deinit(struct metadata *metadata);
/* The first value of that key among those received; NULL where there is none. Not NUL-terminated. */
const char *metadata_find(const grpc_metadata_array *received, const char *key, size_t *ret_len);

#define DETAILS_KEY "grpc-status-details-bin"
/* All that this side sends and takes, for the core's channel argument. */
#define COMPRESSIONS       (1 << GRPC_COMPRESS_NONE | 1 << GRPC_COMPRESS_DEFLATE | 1 << GRPC_COMPRESS_GZIP)

#define RETRY_PUSHBACK_KEY "grpc-retry-pushback-ms"

/* --- writes.c --- */

/* A stream's messages that wait for their turn: a ring that grows. */
struct write {
    grpc_byte_buffer *buffer;
    bool compress;
};
struct writes {
    struct write *items;
    size_t first, count, capacity;
};

void writes_push(struct writes *writes, grpc_byte_buffer *buffer, bool compress);
struct write writes_pop(struct writes *writes); /* there is one */
void writes_clear(struct writes *writes);
void writes_deinit(struct writes *writes);
/* The op that sends it; the buffer must stay until the op is done. */
grpc_op write_op(const struct write *write);

/* --- utf8.c --- */

#define BAD_FIELDS_MAX 16 /* more of them are not told: enough for a person to mend a request */
struct bad_fields {
    size_t n;
    const char *names[BAD_FIELDS_MAX];
    const char *problems[BAD_FIELDS_MAX];
};

/* Walks the wire format of a message and fills *ret with its string fields that have a NUL or are not UTF-8; their
 * names are in `arena`. False when it is malformed, or nested deeper than protobuf's own limit. */
bool message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, struct arena *arena,
                   struct bad_fields *ret);
/* Whether these are valid UTF-8 without NUL; *ret_has_nul says which of the two is wrong. */
bool utf8_check(const uint8_t *bytes, size_t len, bool *ret_has_nul);

/* --- descriptors.c --- */

struct descriptor_file {
    const uint8_t *bytes; /* the FileDescriptorProto, within the set */
    size_t len;
    Google__Protobuf__FileDescriptorProto *proto;
};

struct descriptors {
    struct descriptor_file *files;
    size_t n;
};

/* `set` must outlive it; NULL is an empty one. */
bool descriptors_init(struct descriptors *descriptors, const unsigned char *set, size_t size, struct err *err);
void descriptors_deinit(struct descriptors *descriptors);
/* -1 where there is none. */
int descriptors_file_named(const struct descriptors *descriptors, const char *name);
/* The file that defines a service, method, message, field, oneof, enum, enum value or extension, by its full name. */
int descriptors_file_defining(const struct descriptors *descriptors, const char *symbol);
const Google__Protobuf__ServiceDescriptorProto *descriptors_service(const struct descriptors *descriptors,
                                                                    const char *name);

/* --- method.c --- */

struct service;
struct method {
    struct service *service;
    const ProtobufCMethodDescriptor *descriptor;
    unsigned index;
    enum rpc_shape shape;
    struct rpc_limits limits;
    char *path; /* "/package.Service/Method" */
    void *registered;
};

struct service {
    struct service *next;
    ProtobufCService *impl;
    struct method *methods;
    unsigned n_methods;
    bool own;
};

/* The request comes with the call, as opposed to message by message. */
bool shape_takes_one(enum rpc_shape shape);
/* There is exactly one response, as opposed to a stream of them. */
bool shape_gives_one(enum rpc_shape shape);

/* Checks the table of methods against the stub and the descriptors. */
bool service_new(ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                 const struct descriptors *descriptors, struct service **ret_service, struct err *err);
void service_free(struct service *service);

/* --- listen.c --- */

/* Whether it is HOST:PORT. The core would take a lone host, and a port of its own choice. */
bool listen_check(const char *listen, struct err *err);
/* Why the core could not bind `listen` (checked): it does not say, so this tries by itself. Always returns false. */
bool listen_explain(const char *listen, struct err *err);
/* `listen` (checked) with the port that was bound; malloc'ed. */
char *listen_address(const char *listen, int port);

/* --- tls.c --- */

struct tls_server;
/* Copies the strings; does not read yet. */
bool tls_server_new(const struct rpc_tls *files, void (*on_reload)(void *arg, const struct err *err),
                    void *on_reload_arg, struct tls_server **ret_tls, struct err *err);
/* Reads the files. NULL when they can't be used. Refers to `tls`. */
grpc_server_credentials *tls_server_credentials(struct tls_server *tls, struct err *err);
void tls_server_free(struct tls_server *tls);
/* Reads the files. NULL when they can't be used. */
grpc_channel_credentials *tls_client_credentials(const struct rpc_tls *files, struct err *err);

/* --- callers.c --- */

struct caller;
struct callers;
/* NULL where there is no limit. */
struct callers *callers_new(const struct rpc_caller_limits *limits);
void callers_free(struct callers *callers);
/* NULL: it is one too many. Else it counts until callers_leave. */
struct caller *callers_enter(struct callers *callers, uint64_t key, int64_t now_us);
void callers_leave(struct callers *callers, struct caller *caller);

/* --- frames.c --- */

/* A message that has come in part. */
struct upload {
    uint32_t stream;
    uint32_t left;  /* bytes that are to come, once the prefix is complete */
    uint32_t taken; /* bytes of it that the core keeps */
    uint32_t touched_ms;
    uint8_t prefix[5];
    uint8_t prefix_len; /* that have come; 0: between messages */
};

/* What a connection's client has sent so far. */
struct frames {
    uint32_t preface_left;              /* bytes */
    uint32_t header_len;                /* bytes of the current frame's header that have come */
    uint32_t payload_left;              /* bytes of the current frame that are to come */
    uint32_t block_bytes, block_frames; /* of the current header block */
    _Atomic uint32_t n_writes;          /* that have not been counted yet */
    uint32_t free_pings;
    int purse;
    int64_t paid_ms;
    /* the newest stream, the newest at the window's begin, the newest of those that are no longer new */
    uint32_t stream, window_stream, old_stream;
    int64_t window_ms;
    uint32_t n_early; /* streams opened before the server's settings were acknowledged */
    uint8_t header[9];
    bool has_settings; /* acknowledged them */
    bool is_other;     /* it isn't HTTP/2 */
    bool is_cut;       /* for who judges it */
    /* messages: of the current DATA frame, and those that wait for another */
    struct upload current;
    struct upload *uploads;
    uint32_t n_uploads, uploads_capacity;
    int64_t unfinished; /* bytes of all of them */
};

struct frames_limits {
    size_t block_bytes;       /* of a header block */
    size_t message_bytes;     /* what the server takes at most, of its servers the one that takes most */
    int64_t unfinished_bytes; /* of messages that have come in part, on the connection */
};

/* `offences` (0, 1, 2): how much less than others the client may do. */
void frames_init(struct frames *frames, int offences);
void frames_deinit(struct frames *frames);
/* The next bytes of it. Where they begin a message beyond limits->message_bytes, its length is changed in `bytes` to
 * one more than that. After anything but RPC_ABUSE_NONE it isn't called again. */
enum rpc_abuse frames_take(struct frames *frames, uint8_t *bytes, size_t len, const struct frames_limits *limits,
                           int64_t now_ms);
/* The server has sent it something. Any thread, while another takes. */
void frames_wrote(struct frames *frames);

/* --- addresses.c --- */

/* The address without its port, of IPv6 the network (/64); 0 where there is none, as with Unix sockets: of those
 * nothing is remembered. */
uint64_t address_key(const struct sockaddr *address, socklen_t len);
/* A connection was cut off. */
void address_offends(uint64_t key, int64_t now_ms);
/* How often that was so lately; forgotten with time. */
int address_offences(uint64_t key, int64_t now_ms);
/* False: it has connected too often without calling. Otherwise one of the other two follows, once. */
bool address_connects(uint64_t key, int64_t now_ms);
/* On a connection there was a first call. */
void address_calls(uint64_t key, int64_t now_ms);
/* One was closed on which there never was. */
void address_leaves(uint64_t key, int64_t now_ms);

/* --- door.c --- */

/* A server is about to listen at that port; from now on new connections to it are closed at once; it is no longer. */
void door_open(int port);
void door_close(int port);
void door_forget(int port);
/* For all of the process: 0 for no limit, but that of descriptors; the last call holds. Returns what that is: no client
 * has a descriptor so high. */
int door_limit(int max_connections);
/* Connections closed as there were too many. */
int64_t door_refused(void);

/* --- cork.c --- */

/* What is held back of a connection; zeroed at first, and never freed. */
struct cork {
    uint8_t *bytes;
    size_t len, capacity;
    int fd;
    bool is_listed;
    struct cork *next;
};

/* From the first of these to the second, on any threads, what is sent is held back. */
void cork_begin(void);
void cork_end(void);
/* sendmsg, but what is sent meanwhile goes out at the end. */
ssize_t cork_send(struct cork *cork, int fd, const struct msghdr *message, int flags);
/* Sends what is held back, as far as the client takes it. */
void cork_push(struct cork *cork, int fd);
/* The connection is about to be closed. */
void cork_close(struct cork *cork, int fd);
/* Tries again what clients did not take, if it is time. False: there is some left; come again. */
#define CORK_RETRY_MS 5
bool cork_retry(void);

/* --- guard.c --- */

/* For all of the process; of sizes the highest holds. max_fds: clients' descriptors are below that. */
void guard_limit(int max_fds, size_t max_metadata_bytes, size_t max_message_bytes);
/* Of a connection that was accepted, by its descriptor; false: it is not wanted. */
bool guard_let_in(int fd, const struct sockaddr *address, socklen_t len);
/* Its descriptor is watched from now on. */
void guard_watched(int fd, int epoll, const struct epoll_event *event);
/* Connections cut off, by reason. */
int64_t guard_cut(enum rpc_abuse why);

/* --- server.c --- */

struct server_poller {
    struct poller base;
    struct rpc_server *server;
    pthread_mutex_t lock;  /* guards what follows */
    struct rpc_call *idle; /* not in use */
    size_t n_idle;
    struct rpc_call *oldest, *youngest;       /* unwatched */
    struct rpc_call *first_pump, **last_pump; /* have something to send that other threads have given them */
};

struct rpc_server {
    struct rpc_server_options options; /* its listen and descriptor_set are not ours */
    char *listen, *address;
    grpc_server *core; /* from start to stop */
    struct descriptors descriptors;
    struct service *services;
    struct server_poller *pollers;
    struct tls_server *tls;
    struct callers *callers;
    struct rpc_health *health;
    struct reflection *reflection;
    struct op shutdown_op;
    atomic_bool draining; /* calls that come from now on are refused */
    atomic_bool stopping; /* none is waited for any more */
    _Atomic int64_t in_flight;
    _Atomic int64_t own_in_flight;
    _Atomic int64_t refused; /* of those in flight: they came too late */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_shut_down;
    bool own_closed;
    struct rpc_call *own_streams; /* calls of own streaming methods that are to be ended by rpc_server_stop */
};

bool server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                bool own, struct err *err);

/* --- health.c, reflection.c --- */

void health_free(struct rpc_health *health);
void reflection_free(struct reflection *reflection);
