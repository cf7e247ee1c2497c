/* SPDX-License-Identifier: Apache-2.0 */
/* The clients' connections, by descriptor:
 *
 * - A connection from an address that connects without calling, or that was cut off just now, is not accepted for a
 *   while (addresses.c).
 * - frames.c judges what is read. A client that goes too far is cut off. Without TLS the core finds the connection
 *   closed. With TLS it reads noise from then on, finds that it is not HTTP/2, and closes the connection itself.
 * - cork.c takes what is sent.
 * - The core reads a connection for as long as there is something to read, before it does anything else on that thread.
 *   After READ_AT_ONCE bytes it gets EAGAIN, so that other connections get a turn. An event brings it back.
 * - The server's pollers wait for EDGE_WAIT_MS at most. When none has begun to wait for STALL_MS, the process has stood
 *   still (it was stopped, its machine was, or its cores were busy), and clients are judged more mildly for LATE_MS.
 *
 * Any thread; one thread at a time reads a connection. */
#include "edge/connections.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "edge/addresses.h"
#include "edge/cork.h"
#include "edge/doorstep/doorstep.h"
#include "edge/frames.h"
#include "edge/self_test_record.h"

/* Connections whose descriptor is this or more are not guarded. Address space is set aside for the others. */
#define GUARDED_MAX (1 << 20)
/* READ_AT_ONCE is in bytes: about 60 calls. PIECES_MAX is in buffers of one read, of which the core has at most 4. */
#define READ_AT_ONCE DOORSTEP_BUFFER_BYTES
#define PIECES_MAX   8
/* A header block may have this many times max_metadata_bytes: the size depends on the encoding, and the core itself
 * refuses metadata that is too large. */
#define BLOCK_SHARE 4

/* Offences of an address after which its next connections are closed at once. */
#define OFFENCES_MAX 3

/* Limits on the bytes of messages that have come in part:
 *
 * - A connection may have UNFINISHED_MIN bytes, or UNFINISHED_MESSAGES of the largest messages if these are more.
 * - Once all connections together have ALL_TIMES that, each may have its share of it. */
#define UNFINISHED_MESSAGES 32
#define UNFINISHED_MIN      (64 << 20)
#define ALL_TIMES           2

#define STALL_MS            300
#define LATE_MS             2000

struct connection {
    /* Set last and cleared last: orders the rest between the threads that accept, read and close. */
    atomic_bool is_client;
    atomic_bool has_called;
    atomic_bool is_of_test; /* the self-test made it */
    uint64_t address;       /* from address_key */
    size_t read_at_once;    /* bytes since the turn began */
    unsigned times_told;    /* EAGAINs at the end of the turn: 0 or 1 */
    int epoll;              /* the epoll that watches it; -1: none known */
    struct epoll_event event;
    struct frames frames;
    struct cork cork;
    struct doorstep *doorstep; /* NULL: the core gets everything */
};

/* The TLS session of a server. */
struct session {
    uint64_t address;
    struct frames frames;
};

static atomic_size_t block_max, message_max;
static atomic_int n_clients;
static _Atomic int64_t n_unfinished;             /* bytes of messages that have come in part */
static _Atomic(struct connection *) connections; /* by descriptor; never changes once it is set */
static atomic_int n_connections;                 /* the length of `connections` */
static _Atomic int64_t n_cut[EDGE_ABUSES];
static atomic_int tls_index = -1; /* of sessions; threads that use TLS read it while edge_init sets it */

static _Atomic int64_t waits_ms; /* when a poller last began to wait; 0: none has yet */
static _Atomic int64_t late_until_ms;

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
        /* The kernel provides only the pages that are used. */
        struct connection *all = memory_new((size_t)n, sizeof *all);
        atomic_store(&tls_index, SSL_get_ex_new_index(0, NULL, NULL, NULL, forget_tls));
        atomic_store(&n_connections, n);
        atomic_store(&connections, all);
    }
    pthread_mutex_unlock(&lock);
}

static void raise_to(atomic_size_t *limit, size_t value) {
    size_t now = atomic_load(limit);
    while (now < value && !atomic_compare_exchange_weak(limit, &now, value))
        ;
}

void connections_init(int max_fds, size_t max_metadata_bytes, size_t max_message_bytes) {
    make_room(max_fds);
    raise_to(&block_max, BLOCK_SHARE * max_metadata_bytes);
    raise_to(&message_max, max_message_bytes < UINT32_MAX ? max_message_bytes : UINT32_MAX);
}

int64_t connections_cut(enum edge_abuse why) {
    return atomic_load(&n_cut[why]);
}

static struct connection *connection_of(int fd) {
    struct connection *all = atomic_load_explicit(&connections, memory_order_acquire);
    return all && fd >= 0 && fd < atomic_load_explicit(&n_connections, memory_order_relaxed) ? &all[fd] : NULL;
}

static void note_stall(int64_t last_wait_ms, int64_t now_ms) {
    if (last_wait_ms != 0 && now_ms - last_wait_ms > STALL_MS)
        atomic_store_explicit(&late_until_ms, now_ms + LATE_MS, memory_order_relaxed);
}

void connections_poller_waits(void) {
    int64_t now_ms = clock_mono_us() / US_PER_MS;
    note_stall(atomic_exchange_explicit(&waits_ms, now_ms, memory_order_relaxed), now_ms);
}

static bool server_is_late(int64_t now_ms) {
    note_stall(atomic_load_explicit(&waits_ms, memory_order_relaxed), now_ms);
    return now_ms < atomic_load_explicit(&late_until_ms, memory_order_relaxed);
}

static struct frames_limits limits_now(int64_t now_ms) {
    size_t message_bytes = atomic_load_explicit(&message_max, memory_order_relaxed);
    int64_t one = (int64_t)message_bytes * UNFINISHED_MESSAGES;
    one = one < UNFINISHED_MIN ? UNFINISHED_MIN : one;
    int64_t all = ALL_TIMES * one;
    bool is_short = atomic_load_explicit(&n_unfinished, memory_order_relaxed) > all;
    return (struct frames_limits){
        .block_bytes = atomic_load_explicit(&block_max, memory_order_relaxed),
        .message_bytes = message_bytes,
        .unfinished_bytes = is_short ? all / (atomic_load(&n_clients) + 1) : one,
        .server_is_late = server_is_late(now_ms),
    };
}

static void cut_off(struct frames *frames, uint64_t address, enum edge_abuse abuse, int64_t now_ms) {
    frames->is_cut = true;
    atomic_fetch_add(&n_cut[abuse], 1);
    address_offends(address, now_ms);
}

static enum edge_abuse take(struct frames *frames, uint64_t address, uint8_t *bytes, size_t len) {
    int64_t now_ms = clock_mono_us() / US_PER_MS, unfinished = frames->unfinished;
    struct frames_limits limits = limits_now(now_ms);
    enum edge_abuse abuse = frames_take(frames, bytes, len, &limits, now_ms);
    if (frames->unfinished != unfinished)
        atomic_fetch_add(&n_unfinished, frames->unfinished - unfinished);
    if (abuse != EDGE_ABUSE_NONE)
        cut_off(frames, address, abuse, now_ms);
    return abuse;
}

/* A call has come on the connection, perhaps not the first. */
static void note_call(struct connection *connection) {
    if (!atomic_load_explicit(&connection->has_called, memory_order_relaxed) &&
        !atomic_exchange(&connection->has_called, true))
        address_calls(connection->address, clock_mono_us() / US_PER_MS);
}

bool connection_accept(int fd, int port, const struct sockaddr *address, socklen_t len) {
    struct connection *connection = connection_of(fd);
    if (!connection)
        return true;
    uint64_t key = address_key(address, len);
    int64_t now_ms = clock_mono_us() / US_PER_MS;
    int offences = address_offences(key, now_ms);
    if (offences >= OFFENCES_MAX || !address_connects(key, now_ms)) {
        atomic_fetch_add(&n_cut[offences >= OFFENCES_MAX ? EDGE_ABUSE_OFFENDER : EDGE_ABUSE_CONNECTS], 1);
        return false;
    }
    (void)atomic_load(&connection->is_client);
    connection->address = key;
    connection->read_at_once = 0;
    connection->times_told = 0;
    connection->epoll = -1;
    atomic_store(&connection->has_called, false);
    atomic_store(&connection->is_of_test, false);
    frames_init(&connection->frames, offences);
    connection->doorstep = doorstep_new(port, &connection->frames);
    connection->cork.follows = connection->doorstep != NULL;
    atomic_fetch_add(&n_clients, 1);
    atomic_store(&connection->is_client, true);
    return true;
}

void connection_mark_test(int fd) {
    struct connection *connection = connection_of(fd);
    if (connection)
        atomic_store(&connection->is_of_test, true);
}

bool connection_is_of_test(struct connection *connection) {
    return atomic_load_explicit(&connection->is_of_test, memory_order_relaxed);
}

/* --- without TLS, or before it --- */

/* The connection that this thread has read last. Nothing else tells which connection a TLS session belongs to. */
static _Thread_local struct connection *last_read;

static bool judge_pieces(struct connection *connection, const struct msghdr *message, size_t len) {
    for (size_t i = 0; i < message->msg_iovlen && len > 0; i++) {
        size_t n = message->msg_iov[i].iov_len < len ? message->msg_iov[i].iov_len : len;
        if (take(&connection->frames, connection->address, message->msg_iov[i].iov_base, n) != EDGE_ABUSE_NONE)
            return false;
        len -= n;
    }
    return true;
}

struct connection *connection_of_client(int fd) {
    struct connection *connection = connection_of(fd);
    return connection && atomic_load_explicit(&connection->is_client, memory_order_acquire) ? connection : NULL;
}

void connection_watched(int fd, int epoll, const struct epoll_event *event) {
    struct connection *connection = connection_of_client(fd);
    if (!connection)
        return;
    connection->event = *event;
    connection->epoll = epoll;
}

/* Whether other connections get a turn now; an event then brings the core back. The core has to get EAGAIN twice: first
 * it makes do with what it has read so far, then it comes back, and the second one makes it wait for the event. */
static bool ends_turn(struct connection *connection, int fd) {
    if (connection->epoll < 0 || connection->read_at_once < READ_AT_ONCE)
        return false;
    connection->times_told = (connection->times_told + 1) % 2;
    if (connection->times_told == 0)
        connection->read_at_once = 0;
    return epoll_ctl(connection->epoll, EPOLL_CTL_MOD, fd, &connection->event) == 0;
}

/* Reads up to READ_AT_ONCE bytes. Control data goes where the message wants it. With a doorstep, the bytes go to a
 * buffer of the thread's, since the core offers little room at a time; else where the message wants them. *ret_got says
 * where they are, in `pieces`. */
static ssize_t read_some(struct connection *connection, int fd, struct msghdr *message, struct msghdr *ret_got,
                         struct iovec pieces[static PIECES_MAX]) {
    size_t n = 0, left = READ_AT_ONCE;
    *ret_got = *message;
    if (connection->doorstep)
        pieces[n++] = (struct iovec){doorstep_buffer(), READ_AT_ONCE};
    while (!connection->doorstep && n < message->msg_iovlen && n < PIECES_MAX && left > 0) {
        pieces[n] = message->msg_iov[n];
        pieces[n].iov_len = pieces[n].iov_len < left ? pieces[n].iov_len : left;
        left -= pieces[n++].iov_len;
    }
    ret_got->msg_iov = pieces;
    ret_got->msg_iovlen = n;
    ssize_t got = syscall(SYS_recvmsg, fd, ret_got, 0);
    message->msg_controllen = ret_got->msg_controllen;
    message->msg_flags = ret_got->msg_flags;
    return got;
}

/* Tells the core that there is more to read, as the kernel does. Without these data the core reads on by itself. */
static void announce_more(struct msghdr *message, size_t control_room) {
    static const int more = 1;
    if (!message->msg_control || control_room < CMSG_SPACE(sizeof more))
        return;
    message->msg_controllen = control_room;
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    control->cmsg_level = IPPROTO_TCP;
    control->cmsg_type = TCP_CM_INQ;
    control->cmsg_len = CMSG_LEN(sizeof more);
    memcpy(CMSG_DATA(control), &more, sizeof more);
    message->msg_controllen = CMSG_SPACE(sizeof more);
}

/* Whether the kernel has told that nothing is left to read. Bytes that come later bring an event. */
static bool is_drained(struct msghdr *message) {
    int left;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control))
        if (control->cmsg_level == IPPROTO_TCP && control->cmsg_type == TCP_CM_INQ) {
            memcpy(&left, CMSG_DATA(control), sizeof left);
            return left == 0;
        }
    return false;
}

/* Takes what the doorstep answers out of the n bytes that were read. Returns how many there are for the core; -1: the
 * client is cut off. */
static ssize_t pass_doorstep(struct connection *connection, int fd, struct msghdr *message, size_t control_room,
                             const struct msghdr *got, size_t n) {
    struct doorstep_room room = {.pieces = message->msg_iov, .n = message->msg_iovlen};
    if (!doorstep_take(connection->doorstep, &connection->cork, fd, got, n, &room)) {
        cut_off(&connection->frames, connection->address, EDGE_ABUSE_HEADERS, clock_mono_us() / US_PER_MS);
        return -1;
    }
    if (doorstep_has_more(connection->doorstep))
        announce_more(message, control_room);
    return (ssize_t)room.total;
}

/* Gives the core what has not fitted before. */
static ssize_t read_rest(struct connection *connection, struct msghdr *message) {
    struct doorstep_room room = {.pieces = message->msg_iov, .n = message->msg_iovlen};
    doorstep_give(connection->doorstep, &room);
    announce_more(message, message->msg_controllen);
    return (ssize_t)room.total;
}

/* Reads as read_some does, and judges. Returns 0 when the client is cut off. */
static ssize_t read_judged(struct connection *connection, int fd, struct msghdr *message, struct msghdr *ret_got,
                           struct iovec pieces[static PIECES_MAX]) {
    ssize_t n = read_some(connection, fd, message, ret_got, pieces);
    connection->read_at_once = n > 0 ? connection->read_at_once + (size_t)n : 0;
    if (n <= 0)
        return n;
    last_read = connection;
    bool is_fine = judge_pieces(connection, ret_got, (size_t)n);
    if (connection->frames.stream != 0)
        note_call(connection);
    atomic_store_explicit(&connection->is_client, true, memory_order_release);
    return is_fine ? n : 0;
}

ssize_t connection_read(struct connection *connection, int fd, struct msghdr *message) {
    if (connection->frames.is_cut)
        return 0;
    if (connection->doorstep && doorstep_has_more(connection->doorstep))
        return read_rest(connection, message);
    if (ends_turn(connection, fd)) {
        errno = EAGAIN;
        return -1;
    }
    size_t control_room = message->msg_controllen;
    struct msghdr got;
    struct iovec pieces[PIECES_MAX];
    ssize_t n = read_judged(connection, fd, message, &got, pieces);
    while (n > 0 && connection->doorstep) {
        ssize_t rest = pass_doorstep(connection, fd, message, control_room, &got, (size_t)n);
        if (rest != 0)
            return rest > 0 ? rest : 0;
        /* The core has not seen anything of this turn, so one EAGAIN is enough for it to wait. */
        connection->times_told = 1;
        if (is_drained(message) || ends_turn(connection, fd)) {
            connection->read_at_once = 0;
            connection->times_told = 0;
            errno = EAGAIN;
            return -1;
        }
        connection->times_told = 0;
        message->msg_controllen = control_room;
        n = read_judged(connection, fd, message, &got, pieces);
    }
    return n;
}

ssize_t connection_send(struct connection *connection, int fd, const struct msghdr *message, int flags) {
    frames_wrote(&connection->frames);
    return cork_send(&connection->cork, fd, message, flags);
}

void connection_push(struct connection *connection, int fd) {
    cork_push(&connection->cork, fd);
}

void connection_close(struct connection *connection, int fd) {
    if (!atomic_load(&connection->has_called))
        address_leaves(connection->address, clock_mono_us() / US_PER_MS);
    doorstep_part(connection->doorstep, &connection->cork, fd);
    cork_close(&connection->cork, fd);
    forget_frames(&connection->frames);
    doorstep_free(connection->doorstep);
    connection->doorstep = NULL;
    atomic_fetch_sub(&n_clients, 1);
    atomic_store_explicit(&connection->is_client, false, memory_order_release);
}

/* --- with TLS --- */

static struct session *session_of(SSL *ssl) {
    int index = atomic_load_explicit(&tls_index, memory_order_acquire);
    if (index < 0 || !SSL_is_server(ssl))
        return NULL;
    struct session *session = SSL_get_ex_data(ssl, index);
    if (!session) {
        session = memory_new(1, sizeof *session);
        session->address = last_read ? last_read->address : 0;
        frames_init(&session->frames, address_offences(session->address, clock_mono_us() / US_PER_MS));
        if (!SSL_set_ex_data(ssl, index, session)) {
            free(session);
            return NULL;
        }
    }
    return session;
}

void session_judge(SSL *ssl, void *bytes, size_t len) {
    struct session *session = session_of(ssl);
    if (!session)
        return;
    if (session->frames.is_cut || take(&session->frames, session->address, bytes, len) != EDGE_ABUSE_NONE)
        memset(bytes, 0xff, len);
    else if (session->frames.stream != 0 && last_read && last_read->address == session->address)
        note_call(last_read);
}

void session_wrote(SSL *ssl) {
    struct session *session = session_of(ssl);
    if (session)
        frames_wrote(&session->frames);
}
