/* SPDX-License-Identifier: Apache-2.0 */
/* A pooler can't be asked for its mode, but its effect shows: two connections that are open at the same time meet the
 * same session of Postgres, or one connection meets two. Neither happens in session mode, so there is no false alarm.
 *
 * In the other modes, each question gets an idle session of the pool. PgBouncer takes the one that was used last, so
 * the next connection meets the session that the one before has just left. With server_round_robin it takes the one
 * that was idle for the longest time, so the second question on a connection meets another session than the first, or,
 * if the pool has only one, again that of the connection before. Every second round asks in the reverse order:
 * otherwise a pool with as many sessions as we have connections would give each connection the same one again. Other
 * clients of the pool disturb this order, so every connection asks several times. Several processes of PgBouncer have a
 * pool each: with more connections than processes, two connections meet in one pool. */
#include "store/pooler.h"

#include <string.h>

enum { CONNECTIONS = 5, ROUNDS = 3 };

/* Returns the connection that asks question `i`. */
static int asker(int i) {
    int at = i % CONNECTIONS;
    return i / CONNECTIONS % 2 ? CONNECTIONS - 1 - at : at;
}

struct sessions {
    struct pg *connections[CONNECTIONS];
    char met[CONNECTIONS][PG_SESSION_SIZE]; /* "": none yet */
};

/* Asks which session serves connection `at`, and compares it with the sessions that were met before. */
static bool meet(struct sessions *sessions, int at, struct err *err) {
    char now[PG_SESSION_SIZE];
    if (!pg_session(sessions->connections[at], now, err))
        return false;
    bool is_own = sessions->met[at][0] == '\0' || strcmp(sessions->met[at], now) == 0;
    for (int i = 0; i < CONNECTIONS; i++)
        is_own = is_own && (i == at || strcmp(sessions->met[i], now) != 0);
    memcpy(sessions->met[at], now, sizeof now);
    return is_own ||
           err_set(
               err, ERR_INVALID, BACKEND_POSTGRES,
               "postgres.url leads to a pooler in transaction or statement mode, which gives one session of Postgres "
               "to several clients; couponsd keeps locks, settings and prepared statements in its sessions: set "
               "pool_mode=session for this database in PgBouncer, or connect to Postgres directly");
}

bool pooler_check(const struct pg_options *options, struct err *err) {
    struct sessions sessions = {0};
    bool ok = true;
    for (int i = 0; i < CONNECTIONS; i++) {
        sessions.connections[i] = pg_new(options);
        ok = ok && pg_connect(sessions.connections[i], err);
    }
    for (int i = 0; ok && i < ROUNDS * CONNECTIONS; i++)
        ok = meet(&sessions, asker(i), err);
    for (int i = 0; i < CONNECTIONS; i++)
        pg_free(sessions.connections[i]);
    return ok;
}
