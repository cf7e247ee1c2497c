/* Stands between clients and gRPC's core, where what they send can be seen: in libc's recvmsg, sendmsg, shutdown and
 * close, and OpenSSL's SSL_read and SSL_write, which the core calls through the dynamic linker. The functions here take
 * their places in the whole process, and do the same but for the connections that door.c asked about:
 *
 * - Who connects again and again, or went too far just now, is not let in for a while; addresses.c knows.
 * - What is read is judged by frames.c. Without TLS, one who goes too far finds the connection closed. With TLS, the
 *   core reads noise from then on, finds it to be no HTTP/2, and closes the connection itself.
 * - What is sent goes through cork.c.
 * - The core reads a connection for as long as there is something to read, before it does anything else on that
 *   thread. Here it is made to believe, after some, that there is no more; and is told again, after what else there is.
 *
 * Any thread; a connection is read by one at a time. */
#include <pthread.h>
#include <stdatomic.h>
#include <dlfcn.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "edge/addresses.h"
#include "edge/cork.h"
#include "edge/frames.h"
#include "edge/guard.h"
#include "edge/libc.h"

/* No more than so many connections are guarded: those that memory is set aside for. */
#define GUARDED_MAX (1 << 20)
/* Bytes: about 60 calls. The pieces are the core's, which has 4 at most. */
#define READ_AT_ONCE (8 << 10)
#define PIECES_MAX   8
/* A header block may take more bytes than its metadata: an odd encoding, and what is refused one by one. */
#define BLOCK_SHARE 4

/* Of an address, until its next ones are closed at once. */
#define OFFENCES_MAX 3

/* Bytes of messages that have come in part, for which a connection is cut off: of so many of the largest there may be,
 * or so many. When those of all connections are more than ALL_TIMES that, it is whoever has more than his share. */
#define UNFINISHED_MESSAGES 32
#define UNFINISHED_MIN      (64 << 20)
#define ALL_TIMES           2

struct connection {
    atomic_bool is_client; /* orders the rest between the threads that accept, read and close */
    atomic_bool has_called;
    uint64_t address;    /* as address_key has it */
    size_t read_at_once; /* bytes since it was last told that there are no more */
    unsigned times_told; /* that it is somebody else's turn */
    int epoll;           /* that watches it; -1: none that is known */
    struct epoll_event event;
    struct frames frames;
    struct cork cork;
};

/* With TLS. */
struct session {
    uint64_t address;
    struct frames frames;
};

static atomic_size_t block_max, message_max;
static atomic_int n_clients;
static _Atomic int64_t n_unfinished;             /* bytes */
static _Atomic(struct connection *) connections; /* by descriptor; for good once it is there */
static atomic_int n_connections;                 /* it has room for */
static _Atomic int64_t n_cut[RPC_ABUSES];
static int tls_index = -1;

static void forget_frames(struct frames *frames) {
    atomic_fetch_sub(&n_unfinished, frames->unfinished);
    frames_deinit(frames);
}

static void forget_tls(void *ssl, void *session, CRYPTO_EX_DATA *data, int index, long argl, void *argp) {
    (void)ssl, (void)data, (void)index, (void)argl, (void)argp;
    if (session)
        forget_frames(&((struct session *)session)->frames);
    free(session);
}

static void make_room(int n) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!atomic_load(&connections)) {
        n = n < GUARDED_MAX ? n : GUARDED_MAX;
        struct connection *all = calloc((size_t)n, sizeof *all); /* of which only what is used becomes real */
        if (!all)
            abort(); /* as arenas do */
        atomic_store(&n_connections, n);
        atomic_store(&connections, all);
        tls_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, forget_tls);
    }
    pthread_mutex_unlock(&lock);
}

static void raise_to(atomic_size_t *limit, size_t value) {
    size_t now = atomic_load(limit);
    while (now < value && !atomic_compare_exchange_weak(limit, &now, value))
        ;
}

void guard_limit(int max_connections, size_t max_metadata_bytes, size_t max_message_bytes) {
    make_room(max_connections);
    raise_to(&block_max, BLOCK_SHARE * max_metadata_bytes);
    raise_to(&message_max, max_message_bytes < UINT32_MAX ? max_message_bytes : UINT32_MAX);
}

int64_t guard_cut(enum rpc_abuse why) {
    return atomic_load(&n_cut[why]);
}

static struct connection *connection_of(int fd) {
    struct connection *all = atomic_load_explicit(&connections, memory_order_acquire);
    return all && fd >= 0 && fd < atomic_load_explicit(&n_connections, memory_order_relaxed) ? &all[fd] : NULL;
}

static struct frames_limits limits_now(void) {
    size_t message_bytes = atomic_load_explicit(&message_max, memory_order_relaxed);
    int64_t one = (int64_t)message_bytes * UNFINISHED_MESSAGES;
    one = one < UNFINISHED_MIN ? UNFINISHED_MIN : one;
    int64_t all = ALL_TIMES * one;
    bool is_short = atomic_load_explicit(&n_unfinished, memory_order_relaxed) > all;
    return (struct frames_limits){
        .block_bytes = atomic_load_explicit(&block_max, memory_order_relaxed),
        .message_bytes = message_bytes,
        .unfinished_bytes = is_short ? all / (atomic_load(&n_clients) + 1) : one,
    };
}

static enum rpc_abuse take(struct frames *frames, uint64_t address, uint8_t *bytes, size_t len) {
    int64_t now_ms = clock_mono_us() / US_PER_MS, unfinished = frames->unfinished;
    struct frames_limits limits = limits_now();
    enum rpc_abuse abuse = frames_take(frames, bytes, len, &limits, now_ms);
    if (frames->unfinished != unfinished)
        atomic_fetch_add(&n_unfinished, frames->unfinished - unfinished);
    if (abuse != RPC_ABUSE_NONE) {
        frames->is_cut = true;
        atomic_fetch_add(&n_cut[abuse], 1);
        address_offends(address, now_ms);
    }
    return abuse;
}

/* What was read from it has a call in it, perhaps not for the first time. */
static void note_call(struct connection *connection) {
    if (!atomic_load_explicit(&connection->has_called, memory_order_relaxed) &&
        !atomic_exchange(&connection->has_called, true))
        address_calls(connection->address, clock_mono_us() / US_PER_MS);
}

bool guard_let_in(int fd, const struct sockaddr *address, socklen_t len) {
    struct connection *connection = connection_of(fd);
    if (!connection)
        return true;
    uint64_t key = address_key(address, len);
    int64_t now_ms = clock_mono_us() / US_PER_MS;
    int offences = address_offences(key, now_ms);
    if (offences >= OFFENCES_MAX || !address_connects(key, now_ms)) {
        atomic_fetch_add(&n_cut[offences >= OFFENCES_MAX ? RPC_ABUSE_OFFENDER : RPC_ABUSE_CONNECTS], 1);
        return false;
    }
    (void)atomic_load(&connection->is_client);
    connection->address = key;
    connection->read_at_once = 0;
    connection->times_told = 0;
    connection->epoll = -1;
    atomic_store(&connection->has_called, false);
    frames_init(&connection->frames, offences);
    atomic_fetch_add(&n_clients, 1);
    atomic_store(&connection->is_client, true);
    return true;
}

/* Their types differ from the ones in libc's headers by qualifiers that C takes seriously, hence names of their own. */
ssize_t guarded_recvmsg(int fd, struct msghdr *message, int flags) __asm__("recvmsg");
ssize_t guarded_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
int guarded_shutdown(int fd, int how) __asm__("shutdown");
int guarded_close(int fd) __asm__("close");
int guarded_ssl_read(SSL *ssl, void *bytes, int size) __asm__("SSL_read");
int guarded_ssl_write(SSL *ssl, const void *bytes, int size) __asm__("SSL_write");

/* --- without TLS, or before it --- */

/* Whose bytes this thread has read last: OpenSSL is given them without being told. */
static _Thread_local struct connection *last_read;

static bool judge_pieces(struct connection *connection, const struct msghdr *message, size_t len) {
    for (size_t i = 0; i < message->msg_iovlen && len > 0; i++) {
        size_t n = message->msg_iov[i].iov_len < len ? message->msg_iov[i].iov_len : len;
        if (take(&connection->frames, connection->address, message->msg_iov[i].iov_base, n) != RPC_ABUSE_NONE)
            return false;
        len -= n;
    }
    return true;
}

static struct connection *client_of(int fd) {
    struct connection *connection = connection_of(fd);
    return connection && atomic_load_explicit(&connection->is_client, memory_order_acquire) ? connection : NULL;
}

void guard_watched(int fd, int epoll, const struct epoll_event *event) {
    struct connection *connection = client_of(fd);
    if (!connection)
        return;
    connection->event = *event;
    connection->epoll = epoll;
}

/* Whether it is somebody else's turn; then there will be an event for it. The core has to be told twice: once to be
 * content with what it has read so far, and then, when it comes back, to wait for the event. */
static bool ends_turn(struct connection *connection, int fd) {
    if (connection->epoll < 0 || connection->read_at_once < READ_AT_ONCE)
        return false;
    connection->times_told = (connection->times_told + 1) % 2;
    if (connection->times_told == 0)
        connection->read_at_once = 0;
    return epoll_ctl(connection->epoll, EPOLL_CTL_MOD, fd, &connection->event) == 0;
}

/* Reads what may be read at once. */
static ssize_t read_some(int fd, struct msghdr *message) {
    struct msghdr some = *message;
    struct iovec pieces[PIECES_MAX];
    size_t n = 0, left = READ_AT_ONCE;
    while (n < message->msg_iovlen && n < PIECES_MAX && left > 0) {
        pieces[n] = message->msg_iov[n];
        pieces[n].iov_len = pieces[n].iov_len < left ? pieces[n].iov_len : left;
        left -= pieces[n++].iov_len;
    }
    some.msg_iov = pieces;
    some.msg_iovlen = n;
    ssize_t got = syscall(SYS_recvmsg, fd, &some, 0);
    message->msg_controllen = some.msg_controllen;
    message->msg_flags = some.msg_flags;
    return got;
}

ssize_t guarded_recvmsg(int fd, struct msghdr *message, int flags) {
    struct connection *connection = client_of(fd);
    if (!connection || flags != 0)
        return syscall(SYS_recvmsg, fd, message, flags);
    if (connection->frames.is_cut)
        return 0;
    if (ends_turn(connection, fd)) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t n = read_some(fd, message);
    connection->read_at_once = n > 0 ? connection->read_at_once + (size_t)n : 0;
    if (n <= 0)
        return n;
    last_read = connection;
    bool is_fine = judge_pieces(connection, message, (size_t)n);
    if (connection->frames.stream != 0)
        note_call(connection);
    atomic_store_explicit(&connection->is_client, true, memory_order_release);
    return is_fine ? n : 0;
}

ssize_t guarded_sendmsg(int fd, const struct msghdr *message, int flags) {
    struct connection *connection = client_of(fd);
    if (!connection)
        return syscall(SYS_sendmsg, fd, message, flags);
    frames_wrote(&connection->frames);
    return cork_send(&connection->cork, fd, message, flags);
}

int guarded_shutdown(int fd, int how) {
    struct connection *connection = client_of(fd);
    if (connection)
        cork_push(&connection->cork, fd);
    return (int)syscall(SYS_shutdown, fd, how);
}

int guarded_close(int fd) {
    struct connection *connection = client_of(fd);
    if (connection) {
        if (!atomic_load(&connection->has_called))
            address_leaves(connection->address, clock_mono_us() / US_PER_MS);
        cork_close(&connection->cork, fd);
        forget_frames(&connection->frames);
        atomic_fetch_sub(&n_clients, 1);
        atomic_store_explicit(&connection->is_client, false, memory_order_release);
    }
    return libc_close(fd);
}

/* --- with TLS --- */

static struct session *session_of(SSL *ssl) {
    if (tls_index < 0 || !SSL_is_server(ssl))
        return NULL;
    struct session *session = SSL_get_ex_data(ssl, tls_index);
    if (!session && (session = malloc(sizeof *session))) {
        session->address = last_read ? last_read->address : 0;
        frames_init(&session->frames, address_offences(session->address, clock_mono_us() / US_PER_MS));
        if (!SSL_set_ex_data(ssl, tls_index, session)) {
            free(session);
            return NULL;
        }
    }
    return session;
}

/* What would have been called if it weren't for us. */
static void *next_of(const char *name, _Atomic(void *) *found) {
    void *next = atomic_load_explicit(found, memory_order_relaxed);
    if (!next) {
        next = dlsym(RTLD_NEXT, name);
        if (!next)
            abort(); /* it was linked with, so it is there */
        atomic_store(found, next);
    }
    return next;
}

int guarded_ssl_read(SSL *ssl, void *bytes, int size) {
    static _Atomic(void *) found;
    void *next = next_of("SSL_read", &found);
    int (*read_next)(SSL *, void *, int);
    memcpy(&read_next, &next, sizeof read_next);
    int n = read_next(ssl, bytes, size);
    struct session *session = n > 0 ? session_of(ssl) : NULL;
    if (!session)
        return n;
    if (session->frames.is_cut || take(&session->frames, session->address, bytes, (size_t)n) != RPC_ABUSE_NONE)
        memset(bytes, 0xff, (size_t)n);
    else if (session->frames.stream != 0 && last_read && last_read->address == session->address)
        note_call(last_read);
    return n;
}

int guarded_ssl_write(SSL *ssl, const void *bytes, int size) {
    static _Atomic(void *) found;
    void *next = next_of("SSL_write", &found);
    int (*write_next)(SSL *, const void *, int);
    memcpy(&write_next, &next, sizeof write_next);
    struct session *session = session_of(ssl);
    if (session)
        frames_wrote(&session->frames);
    return write_next(ssl, bytes, size);
}
