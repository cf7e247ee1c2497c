/* Who comes in. Takes the places of libc's accept4 and epoll_ctl in the whole process, and does the same but for
 * connections of clients:
 *
 * - A connection whose descriptor is beyond a limit is closed at once, whoever of the process listens. When accept4
 *   fails for want of a descriptor, the core (seen with 1.51.1; CVE-2023-4785) closes its listening socket for good:
 *   whoever opens connections enough shuts the server's door until it is started anew. This way the listener goes on,
 *   and there is always room for connections to backends and for files. The kernel gives the lowest free number, so the
 *   number tells how many are open, without counting.
 * - The core accepts all that have connected before it does anything else on that thread. Here it is made to believe,
 *   after some, that there are no more; and is told of the others after its next event, as listeners are watched by
 *   level and not by edge.
 * - While a server stops, its door is closed: whoever connects finds the connection closed.
 * - Whom guard.c does not want is not let in.
 *
 * Any thread. */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "edge/door.h"
#include "edge/guard.h"
#include "edge/libc.h"

/* Of those that the process may have at all, so many are kept from clients: a share, and never fewer than some. */
#define KEPT_SHARE 16
#define KEPT_MIN   64
/* What the process has open besides clients when it serves: epoll, pipes, files, connections to backends. */
#define OWN_FILES 128
/* How often, and about as many ms, it waits for a descriptor when all are gone, even the one that is kept for that. */
#define SPARE_TRIES      20
#define ACCEPTED_AT_ONCE 16
/* Servers beyond that number are not guarded. */
#define DOORS_MAX 64

static atomic_int fd_limit = INT_MAX; /* those from here on are not given to clients */
static atomic_int doors[DOORS_MAX];   /* a server's port; below 0: the door is closed; 0: nobody's */
static _Atomic int64_t n_refused;

int door_limit(int max_connections) {
    struct rlimit files;
    int64_t limit = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && files.rlim_cur < INT_MAX) {
        int64_t all = (int64_t)files.rlim_cur;
        int64_t kept = all / KEPT_SHARE > KEPT_MIN ? all / KEPT_SHARE : KEPT_MIN;
        limit = all > 2 * kept ? all - kept : all / 2;
    }
    int most = (int)limit;
    if (max_connections > 0 && max_connections + OWN_FILES < limit)
        limit = max_connections + OWN_FILES;
    atomic_store(&fd_limit, (int)limit);
    return most;
}

static void set_door(int before, int after) {
    int expected = before;
    for (int i = 0; i < DOORS_MAX && !atomic_compare_exchange_strong(&doors[i], &expected, after); i++)
        expected = before;
}

void door_open(int port) {
    set_door(0, port);
}

void door_close(int port) {
    set_door(port, -port);
}

void door_forget(int port) {
    set_door(port, 0);
    set_door(-port, 0);
}

int64_t door_refused(void) {
    return atomic_load(&n_refused);
}

/* Their types differ from the ones in libc's headers by qualifiers that C takes seriously, hence names of their own. */
int door_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) __asm__("accept4");
int door_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) __asm__("epoll_ctl");

static int port_of(int listener) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port) : 0;
}

enum door { DOOR_OPEN, DOOR_CLOSED, DOOR_OTHERS };

static enum door door_of(int listener) {
    int port = port_of(listener);
    for (int i = 0; i < DOORS_MAX && port != 0; i++) {
        int door = atomic_load_explicit(&doors[i], memory_order_acquire);
        if (door == port)
            return DOOR_OPEN;
        if (door == -port)
            return DOOR_CLOSED;
    }
    return DOOR_OTHERS;
}

static bool let_in(int listener, int fd, const struct sockaddr *address, socklen_t len) {
    if (fd >= atomic_load(&fd_limit)) {
        atomic_fetch_add(&n_refused, 1);
        return false;
    }
    enum door door = door_of(listener);
    return door == DOOR_OPEN ? guard_let_in(fd, address, len) : door == DOOR_OTHERS;
}

/* With a reset: nothing of it stays in the kernel. */
static void refuse(int fd) {
    struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* All descriptors may be gone although none is a client's. Then one that is kept for it is freed for a moment, to close
 * the connection with: left alone it would be tried again and again. */
static atomic_int spare = -1;

static void keep_spare(void) {
    if (atomic_load(&spare) >= 0)
        return;
    int expected = -1, fresh = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fresh >= 0 && !atomic_compare_exchange_strong(&spare, &expected, fresh))
        close(fresh);
}

/* False: there is none to spare, as somebody else was quicker. */
static bool refuse_by_spare(int listener) {
    int freed = atomic_exchange(&spare, -1);
    if (freed < 0)
        return false;
    close(freed);
    int unwanted = libc_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (unwanted >= 0) {
        close(unwanted);
        atomic_fetch_add(&n_refused, 1);
    }
    return true;
}

static bool is_listener(int fd) {
    int listens = 0;
    socklen_t len = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
}

int door_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    struct epoll_event by_level;
    if (operation == EPOLL_CTL_ADD && (event->events & EPOLLET) && is_listener(fd)) {
        by_level = *event;
        by_level.events &= ~(uint32_t)EPOLLET;
        event = &by_level;
    } else if (operation == EPOLL_CTL_ADD) {
        guard_watched(fd, epoll, event);
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

int door_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    static _Thread_local int n_at_once; /* since this thread was last told that there are no more */
    socklen_t room = len ? *len : 0;
    for (int tries = 0; tries < SPARE_TRIES && n_at_once < ACCEPTED_AT_ONCE; n_at_once++) {
        keep_spare();
        if (len)
            *len = room;
        int fd = libc_accept4(listener, address, len, flags);
        if (fd >= 0) {
            if (let_in(listener, fd, address, len ? *len : 0)) {
                n_at_once++;
                return fd;
            }
            refuse(fd);
        } else if (errno != EMFILE && errno != ENFILE) {
            n_at_once = 0;
            return -1;
        } else if (!refuse_by_spare(listener)) {
            tries++;
            clock_sleep_us(US_PER_MS);
        }
    }
    n_at_once = 0;
    errno = EAGAIN; /* anything else, and the core would give the listener up */
    return -1;
}
