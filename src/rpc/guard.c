/* Stands between the sockets of clients and gRPC's core, where both can be seen: in libc's accept4, recvmsg,
 * sendmsg and close, and OpenSSL's SSL_read and SSL_write, which the core calls through the dynamic linker. The
 * functions here take their places in the whole process, and do the same but for clients' connections:
 *
 * - A connection whose descriptor is beyond a limit is closed at once. When accept4 fails for want of a descriptor, the
 *   core (seen with 1.51.1; CVE-2023-4785) closes its listening socket for good: whoever opens connections enough shuts
 *   the server's door until it is started anew. This way the listener goes on, and there is always room for connections
 *   to backends and for files. The kernel gives the lowest free number, so the number tells how many are open, without
 *   counting. It holds for every listener of the process, libmicrohttpd's too.
 * - What is read is judged by frames.c. Without TLS, one who goes too far finds the connection closed. With TLS, the
 * core reads noise from then on, finds it to be no HTTP/2, and closes the connection itself.
 *
 * Any thread; a connection is read by one at a time. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/internal.h"

/* Of those that the process may have at all, so many are kept from clients: a share, and never fewer than some. */
#define KEPT_SHARE 16
#define KEPT_MIN   64
/* What the process has open besides clients when it serves: epoll, pipes, files, connections to backends. */
#define OWN_FILES 128
/* How often, and about as many ms, it waits for a descriptor when all are gone, even the one that is kept for that. */
#define SPARE_TRIES 20
/* No more than so many connections are guarded: those that memory is set aside for. */
#define GUARDED_MAX (1 << 20)
/* A header block may take more bytes than its metadata: an odd encoding, and what is refused one by one. */
#define BLOCK_SHARE 4

/* Of an address, until its next ones are closed at once. */
#define OFFENCES_MAX 3

struct connection {
    atomic_bool is_client; /* orders the rest between the threads that accept, read and close */
    uint64_t address;      /* as offenders_key has it */
    struct frames frames;
};

/* With TLS. */
struct session {
    uint64_t address;
    struct frames frames;
};

static atomic_int fd_limit = INT_MAX; /* those from here on are not given to clients */
static atomic_size_t block_max = SIZE_MAX;
static atomic_int closed_port;
static _Atomic(struct connection *) connections; /* by descriptor; for good once it is there */
static atomic_int n_connections;                 /* it has room for */
static _Atomic int64_t n_refused, n_cut[RPC_ABUSES];
static int tls_index = -1;

static void forget_tls(void *ssl, void *frames, CRYPTO_EX_DATA *data, int index, long argl, void *argp) {
    (void)ssl, (void)data, (void)index, (void)argl, (void)argp;
    free(frames);
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

void guard_limit(int max_connections, size_t max_metadata_bytes) {
    struct rlimit files;
    int64_t limit = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && files.rlim_cur < INT_MAX) {
        int64_t all = (int64_t)files.rlim_cur;
        int64_t kept = all / KEPT_SHARE > KEPT_MIN ? all / KEPT_SHARE : KEPT_MIN;
        limit = all > 2 * kept ? all - kept : all / 2;
    }
    make_room((int)limit);
    if (max_connections > 0 && max_connections + OWN_FILES < limit)
        limit = max_connections + OWN_FILES;
    atomic_store(&fd_limit, (int)limit);
    atomic_store(&block_max, BLOCK_SHARE * max_metadata_bytes);
}

void guard_close_door(int port) {
    atomic_store(&closed_port, port);
}

int64_t guard_refused(void) {
    return atomic_load(&n_refused);
}

int64_t guard_cut(enum rpc_abuse why) {
    return atomic_load(&n_cut[why]);
}

static struct connection *connection_of(int fd) {
    struct connection *all = atomic_load_explicit(&connections, memory_order_acquire);
    return all && fd >= 0 && fd < atomic_load_explicit(&n_connections, memory_order_relaxed) ? &all[fd] : NULL;
}

static enum rpc_abuse take(struct frames *frames, uint64_t address, const uint8_t *bytes, size_t len) {
    int64_t now_ms = clock_mono_us() / US_PER_MS;
    enum rpc_abuse abuse =
        frames_take(frames, bytes, len, atomic_load_explicit(&block_max, memory_order_relaxed), now_ms);
    if (abuse != RPC_ABUSE_NONE) {
        frames->is_cut = true;
        atomic_fetch_add(&n_cut[abuse], 1);
        offenders_add(address, now_ms);
    }
    return abuse;
}

/* --- accept4 --- */

/* Their types differ from the ones in libc's headers by qualifiers that C takes seriously, hence names of their own. */
int guarded_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) __asm__("accept4");
ssize_t guarded_recvmsg(int fd, struct msghdr *message, int flags) __asm__("recvmsg");
ssize_t guarded_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
int guarded_close(int fd) __asm__("close");
int guarded_ssl_read(SSL *ssl, void *bytes, int size) __asm__("SSL_read");
int guarded_ssl_write(SSL *ssl, const void *bytes, int size) __asm__("SSL_write");

static bool is_closed(int listener) {
    int port = atomic_load_explicit(&closed_port, memory_order_acquire);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (port == 0 || getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        return false;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port) == port;
    return address.ss_family == AF_INET && ntohs(((struct sockaddr_in *)&address)->sin_port) == port;
}

/* False: it is not wanted. */
static bool let_in(int fd, const struct sockaddr *address, socklen_t len) {
    if (fd >= atomic_load(&fd_limit)) {
        atomic_fetch_add(&n_refused, 1);
        return false;
    }
    struct connection *connection = connection_of(fd);
    if (!connection)
        return true;
    uint64_t key = offenders_key(address, len);
    int offences = offenders_find(key, clock_mono_us() / US_PER_MS);
    if (offences >= OFFENCES_MAX) {
        atomic_fetch_add(&n_cut[RPC_ABUSE_OFFENDER], 1);
        return false;
    }
    (void)atomic_load(&connection->is_client);
    connection->address = key;
    frames_init(&connection->frames, offences);
    atomic_store(&connection->is_client, true);
    return true;
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
    int unwanted = (int)syscall(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC);
    if (unwanted >= 0) {
        close(unwanted);
        atomic_fetch_add(&n_refused, 1);
    }
    return true;
}

int guarded_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    socklen_t room = len ? *len : 0;
    for (int tries = 0; tries < SPARE_TRIES;) {
        keep_spare();
        if (len)
            *len = room;
        int fd = (int)syscall(SYS_accept4, listener, address, len, flags);
        if (fd >= 0) {
            if (!is_closed(listener) && let_in(fd, address, len ? *len : 0))
                return fd;
            close(fd);
        } else if (errno != EMFILE && errno != ENFILE) {
            return -1;
        } else if (!refuse_by_spare(listener)) {
            tries++;
            clock_sleep_us(US_PER_MS);
        }
    }
    errno = EAGAIN; /* anything else, and the core would give the listener up; so it comes back with the next client */
    return -1;
}

/* --- without TLS, or before it --- */

/* Whose bytes this thread has read last: OpenSSL is given them without being told. */
static _Thread_local uint64_t last_address;

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

ssize_t guarded_recvmsg(int fd, struct msghdr *message, int flags) {
    struct connection *connection = client_of(fd);
    if (connection && connection->frames.is_cut)
        return 0;
    ssize_t n = syscall(SYS_recvmsg, fd, message, flags);
    if (!connection || n <= 0 || flags != 0)
        return n;
    last_address = connection->address;
    bool is_fine = judge_pieces(connection, message, (size_t)n);
    atomic_store_explicit(&connection->is_client, true, memory_order_release);
    return is_fine ? n : 0;
}

ssize_t guarded_sendmsg(int fd, const struct msghdr *message, int flags) {
    struct connection *connection = client_of(fd);
    if (connection)
        frames_wrote(&connection->frames);
    return syscall(SYS_sendmsg, fd, message, flags);
}

int guarded_close(int fd) {
    struct connection *connection = client_of(fd);
    if (connection)
        atomic_store_explicit(&connection->is_client, false, memory_order_release);
    return (int)syscall(SYS_close, fd);
}

/* --- with TLS --- */

static struct session *session_of(SSL *ssl) {
    if (tls_index < 0 || !SSL_is_server(ssl))
        return NULL;
    struct session *session = SSL_get_ex_data(ssl, tls_index);
    if (!session && (session = malloc(sizeof *session))) {
        session->address = last_address;
        frames_init(&session->frames, offenders_find(last_address, clock_mono_us() / US_PER_MS));
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
    if (session &&
        (session->frames.is_cut || take(&session->frames, session->address, bytes, (size_t)n) != RPC_ABUSE_NONE))
        memset(bytes, 0xff, (size_t)n);
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
