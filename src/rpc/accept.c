/* Keeps file descriptors for what is not a client.
 *
 * When accept4 fails for want of a descriptor, gRPC's core (seen with 1.51.1; CVE-2023-4785) closes its listening
 * socket for good: whoever opens connections enough shuts the server's door until it is started anew. So this stands in
 * for libc's accept4, which the core calls through the dynamic linker, and closes a connection at once whose descriptor
 * is beyond the limit: the listener goes on, and there is always room for connections to backends and for files. The
 * kernel gives the lowest free number, so the number tells how many are open, without counting.
 *
 * It holds for every listener of the process, libmicrohttpd's too. Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rpc/internal.h"

/* Of those that the process may have at all, so many are kept from clients: a share, and never fewer than some. */
#define KEPT_SHARE 16
#define KEPT_MIN   64
/* What the process has open besides clients when it serves: epoll, pipes, files, connections to backends. */
#define OWN_FILES 128

static atomic_int fd_limit = INT_MAX; /* those from here on are not given to clients */
static _Atomic int64_t n_refused;

void accept_limit(int max_connections) {
    struct rlimit files;
    int64_t limit = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && files.rlim_cur < INT_MAX) {
        int64_t all = (int64_t)files.rlim_cur;
        int64_t kept = all / KEPT_SHARE > KEPT_MIN ? all / KEPT_SHARE : KEPT_MIN;
        limit = all > 2 * kept ? all - kept : all / 2;
    }
    if (max_connections > 0 && max_connections + OWN_FILES < limit)
        limit = max_connections + OWN_FILES;
    atomic_store(&fd_limit, (int)limit);
}

int64_t accept_refused(void) {
    return atomic_load(&n_refused);
}

/* All descriptors may be gone although none is a client's. Then one is freed for a moment, to close the connection
 * with: left alone it would be tried again and again. */
static int spare_fd(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Its type differs from the one in libc's header by qualifiers that C takes seriously, hence a name of its own. */
int accept_within_limit(int listener, struct sockaddr *address, socklen_t *len, int flags) __asm__("accept4");

int accept_within_limit(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    static atomic_int spare = -1;
    socklen_t room = len ? *len : 0;
    for (;;) {
        if (atomic_load(&spare) < 0) {
            int expected = -1, fresh = spare_fd();
            if (fresh >= 0 && !atomic_compare_exchange_strong(&spare, &expected, fresh))
                close(fresh);
        }
        if (len)
            *len = room;
        int fd = (int)syscall(SYS_accept4, listener, address, len, flags);
        if (fd >= 0 && fd < atomic_load(&fd_limit))
            return fd;
        if (fd >= 0) {
            close(fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            int freed = atomic_exchange(&spare, -1);
            if (freed < 0)
                return -1;
            close(freed);
            int unwanted = (int)syscall(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC);
            if (unwanted < 0)
                continue; /* nobody there any more, or somebody else took the descriptor: look again */
            close(unwanted);
        } else {
            return -1;
        }
        atomic_fetch_add(&n_refused, 1);
    }
}
