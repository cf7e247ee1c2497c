/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls behind the replaced functions. ThreadSanitizer has to see accept4 and close: the kernel reuses the
 * number of a descriptor, and the sanitizer would take two users of a number for one. */
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
int __interceptor_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags);
int __interceptor_close(int fd);
#define system_accept4 __interceptor_accept4
#define system_close   __interceptor_close
#else
static inline int system_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    return (int)syscall(SYS_accept4, listener, address, len, flags);
}

static inline int system_close(int fd) {
    return (int)syscall(SYS_close, fd);
}
#endif
