/* SPDX-License-Identifier: Apache-2.0 */
/* Holds back for a moment what the core sends to clients, so that many answers go out with one system call.
 *
 * The core makes a system call for each answer. The answers of a batch belong together. While any thread is between
 * cork_begin and cork_end, a cork copies what the core sends and reports it as sent. The end of a batch sends all of it
 * with one system call for each connection. Pollers are within a batch for as long as there are events to work on
 * (rpc/poller.c).
 *
 *   cork    what is held back of a connection
 *   listed  the cork is on the list that the end of a batch works off
 *   stuck   the client does not read; pollers try again, and sleep for EDGE_RETRY_MS at most meanwhile
 *
 * A cork holds at most HELD_MAX bytes, and all of them together ALL_HELD_MAX. Beyond that the core gets EAGAIN and
 * waits for the client as it would without the edge.
 *
 * Any thread. A lock guards each cork; there are LOCKS of them, chosen by descriptor. A thread takes list_lock inside
 * of it. Whether a batch is open is decided under list_lock, so that the end of a batch sees every cork that was listed
 * because of it. Corks are never freed and keep their descriptor, so a listed one may be closed meanwhile, and even
 * used anew. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "edge/cork.h"

/* Bytes held back of one connection, and of all. A batch of 2,000 answers has about 150,000 bytes. */
#define HELD_MAX     (256 << 10)
#define ALL_HELD_MAX (64 << 20)
/* A buffer that has grown beyond this is not kept. */
#define KEPT_MAX (64 << 10)
#define LOCKS    64 /* a power of two */
/* Bounds the time that a poller spends on clients that do not read. */
#define RETRIES_AT_ONCE 256

static pthread_mutex_t locks[LOCKS];
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
/* First in, first out. Guarded by list_lock, as are `next`, `fd` and `is_listed`. */
static struct list { struct cork *first, **end; } listed = {.end = &listed.first}, stuck = {.end = &stuck.first};
static atomic_int n_open; /* open batches; a batch that ends subtracts itself, and then looks at the list */
static atomic_bool any_stuck;
static _Atomic int64_t n_held;

static void init_locks(void) {
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&locks[i], NULL);
}

static pthread_mutex_t *lock_of(int fd) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_locks);
    return &locks[(unsigned)fd & (LOCKS - 1)];
}

static size_t size_of(const struct msghdr *message) {
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    return size;
}

static void make_room(struct cork *cork, size_t size) {
    size_t capacity = cork->capacity ? cork->capacity : 4096;
    while (capacity < cork->len + size)
        capacity *= 2;
    if (capacity == cork->capacity)
        return;
    cork->bytes = memory_resize(cork->bytes, capacity, 1);
    cork->capacity = capacity;
}

static void append(struct cork *cork, const struct msghdr *message, size_t size) {
    make_room(cork, size);
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        memcpy(cork->bytes + cork->len, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        cork->len += message->msg_iov[i].iov_len;
    }
    atomic_fetch_add(&n_held, (int64_t)size);
}

static void drop(struct cork *cork) {
    atomic_fetch_sub(&n_held, (int64_t)cork->len);
    cork->len = 0;
    if (cork->capacity > KEPT_MAX) {
        free(cork->bytes);
        cork->bytes = NULL;
        cork->capacity = 0;
    }
}

/* Sends what is held. True: nothing is left, because it is out or because it can't be sent; the core then finds out by
 * itself that the connection is broken. Cork's lock held. */
static bool push(struct cork *cork, int fd) {
    size_t sent = 0;
    while (sent < cork->len) {
        struct iovec piece = {.iov_base = cork->bytes + sent, .iov_len = cork->len - sent};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        ssize_t n = syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            atomic_fetch_sub(&n_held, (int64_t)sent);
            cork->len -= sent;
            memmove(cork->bytes, cork->bytes + sent, cork->len);
            return false;
        } else if (errno != EINTR) {
            break;
        }
    }
    drop(cork);
    return true;
}

/* Puts the cork at the end of a list, unless it is on one already. list_lock held. */
static void enlist(struct list *list, struct cork *cork, int fd) {
    if (cork->is_listed)
        return;
    cork->is_listed = true;
    cork->fd = fd;
    cork->next = NULL;
    *list->end = cork;
    list->end = &cork->next;
    atomic_store(&any_stuck, stuck.first != NULL);
}

/* Takes the first cork off a list; NULL if the list is empty. */
static struct cork *take_first(struct list *list, int *ret_fd) {
    pthread_mutex_lock(&list_lock);
    struct cork *cork = list->first;
    if (cork) {
        list->first = cork->next;
        list->end = list->first ? list->end : &list->first;
        cork->is_listed = false;
        *ret_fd = cork->fd;
        atomic_store(&any_stuck, stuck.first != NULL);
    }
    pthread_mutex_unlock(&list_lock);
    return cork;
}

/* Lists the cork for the end of a batch. False: no batch is open. Cork's lock held. */
static bool put_on_list(struct cork *cork, int fd) {
    pthread_mutex_lock(&list_lock);
    bool take = cork->is_listed || atomic_load(&n_open) > 0;
    if (take)
        enlist(&listed, cork, fd);
    pthread_mutex_unlock(&list_lock);
    return take;
}

static void put_aside(struct cork *cork, int fd) {
    pthread_mutex_lock(&list_lock);
    enlist(&stuck, cork, fd);
    pthread_mutex_unlock(&list_lock);
}

/* Holds the message back if a batch is open, else sends it. Cork's lock held. */
static void hold(struct cork *cork, int fd, const struct msghdr *message, size_t size) {
    append(cork, message, size);
    if (!put_on_list(cork, fd) && !push(cork, fd))
        put_aside(cork, fd);
}

static void put_late(struct cork *cork, int fd) {
    const struct iovec piece = {.iov_base = cork->late, .iov_len = cork->late_len};
    const struct msghdr message = {.msg_iov = (struct iovec *)&piece, .msg_iovlen = 1};
    cork->late_len = 0;
    hold(cork, fd, &message, piece.iov_len);
    free(cork->late);
    cork->late = NULL;
}

/* The core has handed over the first n bytes of the message. */
static void follow(struct cork *cork, const struct msghdr *message, size_t n) {
    for (size_t i = 0; i < message->msg_iovlen && n > 0; i++) {
        size_t len = message->msg_iov[i].iov_len < n ? message->msg_iov[i].iov_len : n;
        outgoing_follow(&cork->outgoing, message->msg_iov[i].iov_base, len);
        n -= len;
    }
}

ssize_t cork_send(struct cork *cork, int fd, const struct msghdr *message, int flags) {
    bool is_plain = (flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) == 0 && message->msg_controllen == 0;
    size_t size = size_of(message);
    ssize_t result = (ssize_t)size;
    int error = 0;
    pthread_mutex_lock(lock_of(fd));
    bool is_idle = cork->len == 0 && atomic_load_explicit(&n_open, memory_order_relaxed) == 0;
    if (is_plain && !is_idle && cork->len + size <= HELD_MAX && atomic_load(&n_held) + (int64_t)size <= ALL_HELD_MAX) {
        hold(cork, fd, message, size);
    } else if (push(cork, fd)) {
        result = syscall(SYS_sendmsg, fd, message, flags);
        error = errno;
    } else {
        put_aside(cork, fd);
        result = -1;
        error = EAGAIN; /* the kernel has just said so, too: an event follows, and the core sends it again */
    }
    if (cork->follows && result > 0)
        follow(cork, message, (size_t)result);
    if (cork->late && outgoing_is_between(&cork->outgoing))
        put_late(cork, fd);
    pthread_mutex_unlock(lock_of(fd));
    errno = error;
    return result;
}

bool cork_open(struct cork *cork, int fd) {
    pthread_mutex_lock(lock_of(fd));
    cork->held_before = cork->len;
    return outgoing_is_between(&cork->outgoing) && atomic_load(&n_held) < ALL_HELD_MAX;
}

void cork_put(struct cork *cork, const uint8_t *bytes, size_t len) {
    make_room(cork, len);
    memcpy(cork->bytes + cork->len, bytes, len);
    cork->len += len;
}

void cork_put_soon(struct cork *cork, const uint8_t *bytes, size_t len) {
    if (outgoing_is_between(&cork->outgoing)) {
        cork_put(cork, bytes, len);
        return;
    }
    cork->late = memory_resize(cork->late, cork->late_len + len, 1);
    memcpy(cork->late + cork->late_len, bytes, len);
    cork->late_len += len;
}

void cork_shut(struct cork *cork, int fd) {
    if (cork->len > cork->held_before) {
        atomic_fetch_add(&n_held, (int64_t)(cork->len - cork->held_before));
        if (!put_on_list(cork, fd) && !push(cork, fd))
            put_aside(cork, fd);
    }
    pthread_mutex_unlock(lock_of(fd));
}

void cork_push(struct cork *cork, int fd) {
    pthread_mutex_lock(lock_of(fd));
    if (cork->len > 0 && !push(cork, fd))
        put_aside(cork, fd);
    pthread_mutex_unlock(lock_of(fd));
}

void cork_close(struct cork *cork, int fd) {
    pthread_mutex_lock(lock_of(fd));
    if (cork->len > 0)
        push(cork, fd);
    drop(cork);
    free(cork->bytes);
    free(cork->late);
    cork->bytes = cork->late = NULL;
    cork->capacity = cork->late_len = 0;
    cork->follows = false;
    cork->outgoing = (struct outgoing){0};
    pthread_mutex_unlock(lock_of(fd));
}

bool cork_retry(int retry_ms) {
    static _Atomic int64_t tried_us;
    if (!atomic_load(&any_stuck))
        return true;
    int64_t now_us = clock_mono_us(), last_us = atomic_load(&tried_us);
    if (now_us - last_us < retry_ms * US_PER_MS || !atomic_compare_exchange_strong(&tried_us, &last_us, now_us))
        return false;
    struct cork *cork;
    int fd;
    for (int i = 0; i < RETRIES_AT_ONCE && (cork = take_first(&stuck, &fd)); i++)
        cork_push(cork, fd);
    return !atomic_load(&any_stuck);
}

void cork_begin(void) {
    atomic_fetch_add(&n_open, 1);
}

void cork_end(void) {
    atomic_fetch_sub(&n_open, 1);
    struct cork *cork;
    int fd;
    while ((cork = take_first(&listed, &fd)))
        cork_push(cork, fd);
}
