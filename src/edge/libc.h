/* libc's accept4 and close, whose places door.c and guard.c take. ThreadSanitizer has to see both: a descriptor's
 * number is given again, and it would take two users of a number for one. */
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
int __interceptor_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags);
int __interceptor_close(int fd);
#define libc_accept4 __interceptor_accept4
#define libc_close   __interceptor_close
#else
static inline int libc_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    return (int)syscall(SYS_accept4, listener, address, len, flags);
}

static inline int libc_close(int fd) {
    return (int)syscall(SYS_close, fd);
}
#endif
