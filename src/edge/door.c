/* SPDX-License-Identifier: Apache-2.0 */
/* Decides which connections are accepted:
 *
 * - A connection whose descriptor is beyond a limit is closed at once. When accept4 fails because no descriptor is
 *   left, the core (seen with 1.51.1; CVE-2023-4785) closes its listening socket for good, so anyone who opens enough
 *   connections shuts the server's door until it is restarted. With the limit the listener goes on, and there is always
 *   room for connections to backends and for files. The kernel gives the lowest free number, so the number shows how
 *   many are open without counting.
 * - The core accepts everything that has connected before it does anything else on that thread. After some connections
 *   it gets EAGAIN. It learns of the others after its next event, since listeners are watched by level and not by edge.
 *   When thousands of connections have something to read, a turn comes seldom, so the number grows with the time since
 *   the turn before.
 * - While a server stops, its door is closed: new connections are closed at once.
 * - Connections that connections.c refuses are closed at once.
 *
 * Any thread. */
#include "edge/door.h"
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "edge/connections.h"
#include "edge/listener.h"
#include "edge/self_test_record.h"
#include "edge/system.h"

/* Descriptors that clients do not get: this share of those that the process may have, and never fewer than KEPT_MIN. */
#define KEPT_SHARE 16
#define KEPT_MIN   64
/* What the process has open besides clients when it serves: epoll, pipes, files, connections to backends. */
#define OWN_FILES 128
/* How many times, 1 ms each, door_accept waits for a descriptor while another thread has the spare one. */
#define SPARE_TRIES 20
/* Connections that are accepted in a turn, and for each ms since the turn before. */
#define ACCEPTED_MIN    16
#define ACCEPTED_MAX    512
#define ACCEPTED_PER_MS 4
/* Further servers in the process are not guarded. */
#define DOORS_MAX 64

static atomic_int fd_limit = INT_MAX; /* clients get descriptors below this */
static atomic_int doors[DOORS_MAX];   /* a server's port; its negative: the door is closed; 0: free */
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

enum door { DOOR_OPEN, DOOR_CLOSED, DOOR_OTHERS };

static enum door door_of(int port) {
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
    /* The self-test's connection is under no limit, and nothing is remembered of it. */
    int port = listener_port(listener);
    if (self_test_is_running() && port == atomic_load(&self_test_port)) {
        self_test_record(EDGE_ACCEPT);
        bool is_in = connection_accept(fd, 0, NULL, 0);
        connection_mark_test(fd);
        return is_in;
    }
    if (fd >= atomic_load(&fd_limit)) {
        atomic_fetch_add(&n_refused, 1);
        return false;
    }
    enum door door = door_of(port);
    return door == DOOR_OPEN ? connection_accept(fd, port, address, len) : door == DOOR_OTHERS;
}

/* Closes with a reset, so that nothing of the connection stays in the kernel. */
static void refuse(int fd) {
    struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    system_close(fd);
}

/* All descriptors may be gone although clients do not have them. Then the spare one is closed for a moment, so that the
 * connection can be accepted and closed. Otherwise the core would try to accept it again and again. */
static atomic_int spare = -1;

static void keep_spare(void) {
    if (atomic_load(&spare) >= 0)
        return;
    int expected = -1, fresh = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fresh >= 0 && !atomic_compare_exchange_strong(&spare, &expected, fresh))
        system_close(fresh);
}

/* False: another thread is using the spare one. */
static bool refuse_by_spare(int listener) {
    int freed = atomic_exchange(&spare, -1);
    if (freed < 0)
        return false;
    system_close(freed);
    int unwanted = system_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (unwanted >= 0) {
        system_close(unwanted);
        atomic_fetch_add(&n_refused, 1);
    }
    return true;
}

/* A turn begins. Returns how many connections it may accept. */
static int most_at_once(void) {
    static _Atomic int64_t last_us;
    int64_t now_us = clock_mono_us(), ms = (now_us - atomic_exchange(&last_us, now_us)) / US_PER_MS;
    return ms < ACCEPTED_MIN / ACCEPTED_PER_MS   ? ACCEPTED_MIN
           : ms > ACCEPTED_MAX / ACCEPTED_PER_MS ? ACCEPTED_MAX
                                                 : (int)ms * ACCEPTED_PER_MS;
}

int door_accept(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    static _Thread_local int n_at_once; /* connections since this thread last returned EAGAIN */
    static _Thread_local int most;      /* in this turn */
    socklen_t room = len ? *len : 0;
    if (n_at_once == 0)
        most = most_at_once();
    for (int tries = 0; tries < SPARE_TRIES && n_at_once < most; n_at_once++) {
        keep_spare();
        if (len)
            *len = room;
        int fd = system_accept4(listener, address, len, flags);
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
    errno = EAGAIN; /* after any other error the core would give the listener up */
    return -1;
}
