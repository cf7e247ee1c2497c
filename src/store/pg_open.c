/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a connection; see pg_open.h. A way leads to a host of the URL, and an attempt is a connection to one of its
 * addresses that is being opened. */
#include "store/pg_open.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "store/pg_hosts.h"

/* An attempt gets this time before the next one begins beside it. RFC 8305 recommends the same. */
#define HEAD_START_US (250 * US_PER_MS)
#define ATTEMPTS_MAX  16 /* at the same time */
/* While another host is silent, a host that has refused is asked again: a standby may have been promoted. */
#define AGAIN_US (500 * US_PER_MS)

struct way {
    const struct pg_host *host;
    int number;                  /* of the host in the URL */
    bool is_pending;             /* the host is a name whose addresses are not known yet */
    int lookup_fd;               /* readable once they are */
    struct addrinfo *found;      /* the addresses of a name */
    const struct addrinfo *next; /* the one that is tried next */
    bool is_direct;              /* the host is no name, and is tried next */
    int n_attempts;              /* under way */
    int64_t again_us;            /* when to begin anew; INT64_MAX: no attempt has failed */
    bool has_begun_anew;         /* so `failures` has its failures already */
};

struct attempt {
    struct way *way;
    PGconn *conn;
    PostgresPollingStatusType wants;
};

struct opening {
    const struct pg_options *options;
    const char *url;
    struct resolver *resolver;
    struct pg_hosts hosts;
    struct way *ways; /* one for each host */
    struct attempt attempts[ATTEMPTS_MAX];
    int n_attempts;
    int64_t until_us;
    int64_t head_start_us, next_begin_us;
    struct pollfd *fds; /* room for all attempts and lookups */
    struct strbuf failures;
};

/* --- failures --- */

/* `name` may be NULL. */
static void add_failure(struct opening *opening, const char *name, const char *why) {
    size_t len = strlen(why);
    while (len > 0 && why[len - 1] == '\n')
        len--;
    if (opening->failures.len)
        strbuf_puts(&opening->failures, "; ");
    if (name)
        strbuf_printf(&opening->failures, "%s: ", name);
    strbuf_add(&opening->failures, why, len);
}

/* libpq's messages have the address. Returns the name that led there, or NULL. */
static const char *name_of(const struct attempt *attempt) {
    const struct pg_host *host = attempt->way->host;
    return pg_host_is_name(host) && strcmp(host->host, PQhostaddr(attempt->conn)) != 0 ? host->host : NULL;
}

static void add_timeout(struct opening *opening, const struct attempt *attempt) {
    struct strbuf text = {0};
    const char *address = PQhostaddr(attempt->conn);
    strbuf_printf(&text, "connection to server at \"%s\", port %s failed: timeout expired",
                  *address ? address : PQhost(attempt->conn), PQport(attempt->conn));
    add_failure(opening, name_of(attempt), text.data);
    strbuf_deinit(&text);
}

/* --- names --- */

/* Looks up the names whose addresses are not known yet. Does not wait. */
static void look_up(struct opening *opening) {
    for (int i = 0; i < opening->hosts.n; i++) {
        struct way *way = &opening->ways[i];
        struct err err;
        if (!way->is_pending)
            continue;
        /* Any port will do: libpq gets only the addresses. */
        switch (resolver_ask(opening->resolver, way->host->host, 0, &way->found, &way->lookup_fd, &err)) {
        case RESOLVER_PENDING:
            continue;
        case RESOLVER_FAILED:
            add_failure(opening, way->host->host, err.text);
            break;
        case RESOLVER_FOUND:
            way->next = way->found;
            break;
        }
        way->is_pending = false;
    }
}

/* --- attempts --- */

static PGconn *start(const struct opening *opening, const struct pg_host *host, const char *address) {
    char silence[16];
    snprintf(silence, sizeof silence, "%d", opening->options->statement_timeout_ms + PG_SILENCE_MARGIN_MS);
    /* The keywords before dbname are defaults, which the URL may override. Those after it override the URL, and all of
     * them override the environment. A name is given with its address, since TLS may check it. */
    const struct {
        const char *keyword, *value;
    } parameters[] = {
        {"tcp_user_timeout", silence},
        {"keepalives_idle", "10"},
        {"target_session_attrs", "read-write"},
        {"application_name", opening->options->application_name},
        {"dbname", opening->url},
        {"client_encoding", "UTF8"},
        {"host", host->host},
        {"hostaddr", address},
        {"port", host->port},
    };
    enum { N = sizeof parameters / sizeof parameters[0] };
    const char *keywords[N + 1] = {NULL}, *values[N + 1] = {NULL};
    for (size_t i = 0; i < N; i++) {
        keywords[i] = parameters[i].keyword;
        values[i] = parameters[i].value;
    }
    return memory_must(PQconnectStartParams(keywords, values, 1));
}

static void fail_attempt(struct opening *opening, int at) {
    struct attempt *attempt = &opening->attempts[at];
    struct way *way = attempt->way;
    if (!way->has_begun_anew)
        add_failure(opening, name_of(attempt), PQerrorMessage(attempt->conn));
    way->n_attempts--;
    way->again_us = clock_mono_us() + AGAIN_US;
    PQfinish(attempt->conn);
    *attempt = opening->attempts[--opening->n_attempts];
    opening->next_begin_us = 0;
}

/* Returns the first way that has an address to try, or NULL. */
static struct way *next_way(const struct opening *opening) {
    for (int i = 0; opening->n_attempts < ATTEMPTS_MAX && i < opening->hosts.n; i++)
        if (opening->ways[i].is_direct || opening->ways[i].next)
            return &opening->ways[i];
    return NULL;
}

static void begin(struct opening *opening, struct way *way) {
    char address[NI_MAXHOST];
    const struct addrinfo *one = way->next;
    if (one) {
        way->next = one->ai_next;
        int problem = getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
        if (problem) {
            add_failure(opening, way->host->host, gai_strerror(problem));
            return;
        }
    }
    way->is_direct = false;
    way->n_attempts++;
    struct attempt *attempt = &opening->attempts[opening->n_attempts++];
    *attempt = (struct attempt){.way = way,
                                .conn = start(opening, way->host, one ? address : way->host->hostaddr),
                                .wants = PGRES_POLLING_WRITING};
    opening->next_begin_us = clock_mono_us() + opening->head_start_us;
    if (PQstatus(attempt->conn) == CONNECTION_BAD)
        fail_attempt(opening, opening->n_attempts - 1);
}

/* Returns the time at which all addresses of the host are to be tried again, or INT64_MAX. */
static int64_t again_us(const struct way *way) {
    return way->n_attempts > 0 || way->next || way->is_direct ? INT64_MAX : way->again_us;
}

static void begin_anew(struct opening *opening) {
    int64_t now_us = clock_mono_us();
    for (int i = 0; i < opening->hosts.n; i++) {
        struct way *way = &opening->ways[i];
        if (now_us < again_us(way))
            continue;
        way->next = way->found;
        way->is_direct = !way->found;
        way->has_begun_anew = true;
    }
}

static void begin_attempts(struct opening *opening) {
    struct way *way;
    begin_anew(opening);
    while ((way = next_way(opening)) && (opening->n_attempts == 0 || clock_mono_us() >= opening->next_begin_us))
        begin(opening, way);
}

/* --- waiting --- */

/* Waits until an attempt or a lookup goes on, the next attempt may begin, or the time is over. The first elements of
 * `fds` are those of the attempts. Returns false if there is nothing to wait for. */
static bool wait_for_any(struct opening *opening) {
    int n = 0;
    for (; n < opening->n_attempts; n++) {
        const struct attempt *attempt = &opening->attempts[n];
        opening->fds[n] = (struct pollfd){.fd = PQsocket(attempt->conn),
                                          .events = attempt->wants == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    }
    for (int i = 0; i < opening->hosts.n; i++)
        if (opening->ways[i].is_pending)
            opening->fds[n++] = (struct pollfd){.fd = opening->ways[i].lookup_fd, .events = POLLIN};
    int64_t until_us = opening->until_us;
    if (next_way(opening) && opening->next_begin_us < until_us)
        until_us = opening->next_begin_us;
    for (int i = 0; i < opening->hosts.n; i++)
        if (again_us(&opening->ways[i]) < until_us)
            until_us = opening->ways[i].again_us;
    int64_t left_us = until_us - clock_mono_us();
    if (n > 0 && poll(opening->fds, (nfds_t)n, left_us > 0 ? (int)(left_us / US_PER_MS + 1) : 0) < 0)
        for (int i = 0; i < n; i++)
            opening->fds[i].revents = 0; /* a signal */
    return n > 0;
}

/* Lets the attempts go on whose sockets are ready. Returns the one that has succeeded, or NULL. */
static struct attempt *go_on(struct opening *opening) {
    for (int i = opening->n_attempts - 1; i >= 0; i--) { /* backwards: a failure moves the last one to its place */
        struct attempt *attempt = &opening->attempts[i];
        if (!opening->fds[i].revents)
            continue;
        attempt->wants = PQconnectPoll(attempt->conn);
        if (attempt->wants == PGRES_POLLING_OK)
            return attempt;
        if (attempt->wants == PGRES_POLLING_FAILED)
            fail_attempt(opening, i);
    }
    return NULL;
}

static struct attempt *open_any(struct opening *opening) {
    for (;;) {
        look_up(opening);
        begin_attempts(opening);
        if (!wait_for_any(opening))
            return NULL;
        struct attempt *open = go_on(opening);
        if (open)
            return open;
        if (clock_mono_us() >= opening->until_us)
            break;
    }
    for (int i = 0; i < opening->n_attempts; i++)
        add_timeout(opening, &opening->attempts[i]);
    for (int i = 0; i < opening->hosts.n; i++)
        if (opening->ways[i].is_pending)
            add_failure(opening, opening->ways[i].host->host, resolver_no_answer);
    return NULL;
}

/* --- all --- */

static void set_ways(struct opening *opening) {
    const struct pg_hosts *hosts = &opening->hosts;
    const atomic_int *first_host = opening->options->first_host;
    int first = first_host ? atomic_load(first_host) : 0;
    opening->ways = memory_new((size_t)hosts->n, sizeof *opening->ways);
    for (int i = 0; i < hosts->n; i++) {
        int number = (first + i) % hosts->n;
        const struct pg_host *host = &hosts->list[number];
        bool is_name = pg_host_is_name(host);
        opening->ways[i] = (struct way){
            .host = host, .number = number, .is_pending = is_name, .is_direct = !is_name, .again_us = INT64_MAX};
    }
}

static void set_times(struct opening *opening, int64_t give_up_us) {
    int64_t now_us = clock_mono_us(), limit_us = (int64_t)opening->hosts.connect_timeout_s * US_PER_S;
    if (give_up_us - now_us < limit_us)
        limit_us = give_up_us - now_us;
    opening->until_us = now_us + limit_us;
    /* Each host has at least half of the time. */
    int64_t share_us = limit_us / 2 / opening->hosts.n;
    opening->head_start_us = share_us < HEAD_START_US ? share_us : HEAD_START_US;
}

static void deinit(struct opening *opening) {
    for (int i = 0; i < opening->n_attempts; i++)
        PQfinish(opening->attempts[i].conn);
    for (int i = 0; i < opening->hosts.n; i++)
        if (opening->ways[i].found)
            freeaddrinfo(opening->ways[i].found);
    free(opening->ways);
    free(opening->fds);
    strbuf_deinit(&opening->failures);
    pg_hosts_deinit(&opening->hosts);
}

bool pg_open(const struct pg_options *options, const char *url, struct resolver *resolver, int64_t give_up_us,
             struct pg_opened *ret, struct err *err) {
    struct opening opening = {.options = options, .url = url, .resolver = resolver};
    pg_hosts_init(&opening.hosts, url, options->connect_timeout_s);
    opening.fds = memory_new(ATTEMPTS_MAX + (size_t)opening.hosts.n, sizeof *opening.fds);
    set_ways(&opening);
    set_times(&opening, give_up_us);
    struct attempt *open = open_any(&opening);
    bool ok = open != NULL;
    if (ok) {
        *ret = (struct pg_opened){.conn = open->conn, .host = open->way->number};
        *open = opening.attempts[--opening.n_attempts];
    } else {
        err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", opening.failures.data);
    }
    deinit(&opening);
    return ok;
}
