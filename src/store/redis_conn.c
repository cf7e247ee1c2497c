/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to Redis; see redis_conn.h.
 *
 * The socket is blocking and has time-outs for reading and writing, so a round trip costs one call to send and one to
 * receive. A server that trickles bytes is limited by a deadline as well. */
#include "store/redis_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"

#define READ_SIZE 16384
/* Balancers and firewalls forget a connection that is idle for some minutes, and some tell nobody. A probe every 30 s
 * keeps it known, and three lost probes end it. */
#define KEEPALIVE_IDLE_S     30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3

struct redis_conn {
    struct redis_address address;
    int64_t timeout_us;
    int fd;
    SSL *session; /* NULL: no TLS */
    redisReader *reader;
    struct strbuf out;
    bool has_served; /* an answer was read before the last flush */
    bool was_closed; /* by the peer */
    uint64_t answers;
};

bool redis_address_error(const struct redis_address *address, struct err *err, const char *what) {
    if (!address->port)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s: %s", address->host, what);
    return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s:%d: %s", address->host, address->port, what);
}

const struct redis_address *redis_conn_address(const struct redis_conn *conn) {
    return &conn->address;
}

bool redis_conn_was_cut(const struct redis_conn *conn) {
    return conn->has_served && conn->was_closed;
}

/* --- the socket --- */

static bool fail_errno(const struct redis_address *address, int error, struct err *err) {
    return redis_address_error(address, err, error == ETIMEDOUT ? "no connection in time" : strerror(error));
}

/* Returns 0, or errno. The socket is blocking afterwards. */
static int connect_within(int fd, const struct sockaddr *to, socklen_t len, int64_t until_us) {
    if (connect(fd, to, len) != 0) {
        int error;
        socklen_t size = sizeof error;
        if (errno != EINPROGRESS)
            return errno == EAGAIN ? ETIMEDOUT : errno; /* a Unix socket whose backlog is full */
        int64_t left_ms = (until_us - clock_mono_us()) / US_PER_MS;
        struct pollfd fds = {.fd = fd, .events = POLLOUT};
        if (poll(&fds, 1, left_ms > 0 ? (int)left_ms : 0) <= 0)
            return ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error)
            return error ? error : errno;
    }
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0 ? 0 : errno;
}

static void set_option(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof value);
}

static void set_tcp_options(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static int open_unix(const struct redis_address *address, int64_t until_us, int *ret_fd) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, address->host, strnlen(address->host, sizeof to.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : connect_within(fd, (struct sockaddr *)&to, sizeof to, until_us);
    if (error && fd >= 0)
        close(fd);
    *ret_fd = fd;
    return error;
}

/* Tries the addresses in turn. Each has an equal share of the time that is left. */
static int open_tcp(const struct addrinfo *found, int64_t until_us, int *ret_fd) {
    int error = EADDRNOTAVAIL, n = 0;
    for (const struct addrinfo *one = found; one; one = one->ai_next)
        n++;
    for (const struct addrinfo *one = found; one; one = one->ai_next, n--) {
        int64_t now_us = clock_mono_us(), share_us = (until_us - now_us) / n;
        int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        error = fd < 0 ? errno : connect_within(fd, one->ai_addr, one->ai_addrlen, now_us + share_us);
        if (!error) {
            *ret_fd = fd;
            return 0;
        }
        if (fd >= 0)
            close(fd);
    }
    return error;
}

static bool open_socket(struct redis_conn *conn, const struct redis_conn_options *options, struct err *err) {
    int64_t until_us = clock_mono_us() + options->timeout_us;
    int error;
    if (conn->address.port) {
        struct addrinfo *found;
        struct err cause;
        if (!resolver_wait(options->resolver, conn->address.host, conn->address.port, until_us, &found, &cause))
            return redis_address_error(&conn->address, err, cause.text);
        error = open_tcp(found, until_us, &conn->fd);
        freeaddrinfo(found);
    } else {
        error = open_unix(&conn->address, until_us, &conn->fd);
    }
    if (error) {
        conn->fd = -1;
        return fail_errno(&conn->address, error, err);
    }
    const struct timeval timeout = {.tv_sec = options->timeout_us / US_PER_S,
                                    .tv_usec = options->timeout_us % US_PER_S};
    setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (conn->address.port)
        set_tcp_options(conn->fd);
    return true;
}

static bool start_tls(struct redis_conn *conn, const struct redis_tls *tls, struct err *err) {
    struct err problem;
    conn->session = redis_tls_connect(tls, conn->address.host, conn->fd, &problem);
    return conn->session || redis_address_error(&conn->address, err, problem.text);
}

/* --- bytes --- */

static bool fail_io(struct redis_conn *conn, int error, struct err *err) {
    char what[160];
    const char *text = error ? strerror(error) : "the server closed the connection";
    bool is_late = error == EAGAIN || error == ETIMEDOUT;
    if (is_late) {
        text = "no answer in time";
    } else if (error == EPROTO) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        snprintf(what, sizeof what, "TLS: %s", reason ? reason : "the server broke the session");
        ERR_clear_error();
        text = what;
    }
    conn->was_closed = conn->was_closed || !is_late;
    redis_address_error(&conn->address, err, text);
    return false;
}

/* Returns the number of bytes, 0 at the end, or -1 with errno. */
static ssize_t tls_result(SSL *session, int ok, size_t n) {
    if (ok == 1)
        return (ssize_t)n;
    switch (SSL_get_error(session, ok)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        return errno ? -1 : 0;
    default: /* the peer ended the session without a notice, or broke the protocol */
        errno = EPROTO;
        return -1;
    }
}

static ssize_t write_some(struct redis_conn *conn, const char *bytes, size_t len) {
    size_t n = 0;
    if (!conn->session)
        return send(conn->fd, bytes, len, MSG_NOSIGNAL);
    errno = 0;
    ERR_clear_error();
    int ok = SSL_write_ex(conn->session, bytes, len, &n);
    return tls_result(conn->session, ok, n);
}

static ssize_t read_some(struct redis_conn *conn, char *bytes, size_t len) {
    size_t n = 0;
    if (!conn->session)
        return recv(conn->fd, bytes, len, 0);
    errno = 0;
    ERR_clear_error();
    int ok = SSL_read_ex(conn->session, bytes, len, &n);
    return tls_result(conn->session, ok, n);
}

void redis_conn_append(struct redis_conn *conn, int argc, const char **argv) {
    char *command;
    long long len = redisFormatCommandArgv(&command, argc, argv, NULL);
    memory_must(len < 0 ? NULL : command);
    strbuf_add(&conn->out, command, (size_t)len);
    redisFreeCommand(command);
}

bool redis_conn_flush(struct redis_conn *conn, struct err *err) {
    conn->has_served = conn->answers > 0;
    int64_t until_us = clock_mono_us() + conn->timeout_us;
    for (size_t sent = 0; sent < conn->out.len;) {
        ssize_t n = write_some(conn, conn->out.data + sent, conn->out.len - sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_io(conn, n < 0 ? errno : 0, err);
        sent += (size_t)n;
        if (sent < conn->out.len && clock_mono_us() > until_us)
            return fail_io(conn, ETIMEDOUT, err);
    }
    conn->out.len = 0;
    return true;
}

static void fail_protocol(struct redis_conn *conn, struct err *err) {
    redis_address_error(&conn->address, err, conn->reader->errstr);
}

bool redis_conn_read(struct redis_conn *conn, redisReply **ret_reply, struct err *err) {
    int64_t until_us = 0;
    char bytes[READ_SIZE];
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(conn->reader, &reply) != REDIS_OK) {
            fail_protocol(conn, err);
            return false;
        }
        if (reply) {
            conn->answers++;
            *ret_reply = reply;
            return true;
        }
        if (!until_us) {
            until_us = clock_mono_us() + conn->timeout_us;
        } else if (clock_mono_us() > until_us) {
            fail_io(conn, ETIMEDOUT, err);
            return false;
        }
        ssize_t n = read_some(conn, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fail_io(conn, n < 0 ? errno : 0, err);
            return false;
        }
        if (redisReaderFeed(conn->reader, bytes, (size_t)n) != REDIS_OK) {
            fail_protocol(conn, err);
            return false;
        }
    }
}

bool redis_conn_run(struct redis_conn *conn, int argc, const char **argv, redisReply **ret_reply, struct err *err) {
    redisReply *reply = NULL;
    redis_conn_append(conn, argc, argv);
    if (!redis_conn_flush(conn, err) || !redis_conn_read(conn, &reply, err))
        return false;
    if (reply->type == REDIS_REPLY_ERROR) {
        redis_address_error(&conn->address, err, reply->str);
        freeReplyObject(reply);
        return false;
    }
    *ret_reply = reply;
    return true;
}

/* --- opening and closing --- */

static bool run_plain(struct redis_conn *conn, int argc, const char **argv, struct err *err) {
    redisReply *reply = NULL;
    if (!redis_conn_run(conn, argc, argv, &reply, err))
        return false;
    freeReplyObject(reply);
    return true;
}

/* A server that wants a client certificate refuses a wrong one, or none, only after its handshake is over for the
 * client. An error as the answer is fine: the server may want a password, or deny the command. */
static bool check_tls(struct redis_conn *conn, const struct redis_tls *tls, struct err *err) {
    const char *argv[] = {"PING"};
    redisReply *reply = NULL;
    redis_conn_append(conn, 1, argv);
    if (redis_conn_flush(conn, err) && redis_conn_read(conn, &reply, err)) {
        freeReplyObject(reply);
        return true;
    }
    if (conn->was_closed)
        redis_address_error(&conn->address, err,
                            *tls->certificate ? "closed after the TLS handshake: the server does not accept "
                                                "redis.tls_certificate"
                                              : "closed after the TLS handshake: the server wants a client certificate "
                                                "(redis.tls_certificate)");
    return false;
}

/* Sends AUTH. Some servers repeat the arguments of a command that they refuse; the error must not show the password. */
static bool authenticate(struct redis_conn *conn, const char *user, const char *password, struct err *err) {
    const char *with_user[] = {"AUTH", user, password}, *without[] = {"AUTH", password};
    redisReply *reply = NULL;
    redis_conn_append(conn, *user ? 3 : 2, *user ? with_user : without);
    if (!redis_conn_flush(conn, err) || !redis_conn_read(conn, &reply, err))
        return false;
    bool is_refused = reply->type == REDIS_REPLY_ERROR;
    if (is_refused && strstr(reply->str, password))
        reply->str[strcspn(reply->str, " ")] = '\0'; /* such as ERR */
    if (is_refused)
        redis_address_error(&conn->address, err, reply->str);
    freeReplyObject(reply);
    return !is_refused;
}

static bool log_in(struct redis_conn *conn, const struct redis_conn_options *options, struct err *err) {
    char db[16];
    redis_login_refresh(options->login);
    const char *user = options->login->user, *password = options->login->password;
    const char *select[] = {"SELECT", db};
    if (*password && !authenticate(conn, user, password, err))
        return false;
    snprintf(db, sizeof db, "%d", options->db);
    return options->db == 0 || run_plain(conn, 2, select, err);
}

bool redis_conn_open(const struct redis_conn_options *options, const struct redis_address *address,
                     struct redis_conn **ret_conn, struct err *err) {
    struct redis_conn *conn = memory_new(1, sizeof *conn);
    *conn = (struct redis_conn){
        .address = *address, .timeout_us = options->timeout_us, .fd = -1, .reader = memory_must(redisReaderCreate())};
    if (!open_socket(conn, options, err) || (options->tls && !start_tls(conn, options->tls, err)) ||
        (options->tls && !check_tls(conn, options->tls, err)) || !log_in(conn, options, err)) {
        redis_conn_close(conn);
        return false;
    }
    conn->answers = 0; /* a login alone does not count as service */
    *ret_conn = conn;
    return true;
}

void redis_conn_close(struct redis_conn *conn) {
    if (!conn)
        return;
    SSL_free(conn->session);
    if (conn->fd >= 0)
        close(conn->fd);
    redisReaderFree(conn->reader);
    strbuf_deinit(&conn->out);
    free(conn);
}
