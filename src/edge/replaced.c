/* SPDX-License-Identifier: Apache-2.0 */
/* The replaced functions, all of them. Each takes the place of a function of libc or OpenSSL in the whole process: the
 * program defines a symbol of that name, and the dynamic linker gives it to every library, the core's among them. For
 * descriptors and sessions that are not a client's, they do what the original does.
 *
 * A library that was linked with -Bsymbolic, or that has OpenSSL inside, does not call them. rpc/self_test.c finds that
 * out at the start. */
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "edge/connections.h"
#include "edge/door.h"
#include "edge/listener.h"
#include "edge/replaced.h"
#include "edge/self_test_record.h"
#include "edge/system.h"

void replaced_link(void) {}

/* libc declares these functions with types that differ slightly, so they have names of our own in C. */
int edge_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) __asm__("accept4");
int edge_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) __asm__("epoll_ctl");
ssize_t edge_recvmsg(int fd, struct msghdr *message, int flags) __asm__("recvmsg");
ssize_t edge_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
int edge_shutdown(int fd, int how) __asm__("shutdown");
int edge_close_fd(int fd) __asm__("close");
int edge_ssl_read(SSL *ssl, void *bytes, int size) __asm__("SSL_read");
int edge_ssl_write(SSL *ssl, const void *bytes, int size) __asm__("SSL_write");

int edge_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    return door_accept(listener, address, len, flags);
}

int edge_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    struct epoll_event by_level;
    if (operation == EPOLL_CTL_ADD && (event->events & EPOLLET) && listener_is(fd)) {
        by_level = *event;
        by_level.events &= ~(uint32_t)EPOLLET;
        event = &by_level;
    } else if (operation == EPOLL_CTL_ADD) {
        connection_watched(fd, epoll, event);
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

ssize_t edge_recvmsg(int fd, struct msghdr *message, int flags) {
    struct connection *connection = connection_of_client(fd);
    if (!connection || flags != 0)
        return syscall(SYS_recvmsg, fd, message, flags);
    if (self_test_is_running() && connection_is_of_test(connection))
        self_test_record(EDGE_READ);
    return connection_read(connection, fd, message);
}

ssize_t edge_sendmsg(int fd, const struct msghdr *message, int flags) {
    struct connection *connection = connection_of_client(fd);
    if (!connection)
        return syscall(SYS_sendmsg, fd, message, flags);
    if (self_test_is_running() && connection_is_of_test(connection))
        self_test_record(EDGE_SEND);
    return connection_send(connection, fd, message, flags);
}

int edge_shutdown(int fd, int how) {
    struct connection *connection = connection_of_client(fd);
    if (connection)
        connection_push(connection, fd);
    return (int)syscall(SYS_shutdown, fd, how);
}

int edge_close_fd(int fd) {
    struct connection *connection = connection_of_client(fd);
    if (connection)
        connection_close(connection, fd);
    return system_close(fd);
}

/* The original function of that name. */
static void *next_of(const char *name, _Atomic(void *) *found) {
    void *next = atomic_load_explicit(found, memory_order_relaxed);
    if (!next) {
        next = dlsym(RTLD_NEXT, name);
        if (!next)
            abort(); /* a defect: the program is linked with OpenSSL */
        atomic_store(found, next);
    }
    return next;
}

int edge_ssl_read(SSL *ssl, void *bytes, int size) {
    static _Atomic(void *) found;
    void *next = next_of("SSL_read", &found);
    int (*read_next)(SSL *, void *, int);
    memcpy(&read_next, &next, sizeof read_next);
    int n = read_next(ssl, bytes, size);
    if (self_test_is_running() && self_test_has(ssl))
        self_test_record(EDGE_DECRYPT);
    if (n > 0)
        session_judge(ssl, bytes, (size_t)n);
    return n;
}

int edge_ssl_write(SSL *ssl, const void *bytes, int size) {
    static _Atomic(void *) found;
    void *next = next_of("SSL_write", &found);
    int (*write_next)(SSL *, const void *, int);
    memcpy(&write_next, &next, sizeof write_next);
    if (self_test_is_running() && self_test_has(ssl))
        self_test_record(EDGE_ENCRYPT);
    session_wrote(ssl);
    return write_next(ssl, bytes, size);
}
