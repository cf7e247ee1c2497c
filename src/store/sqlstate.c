/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* Whole states stand before the classes, i.e. the first two characters. */
static const struct {
    const char *prefix;
    enum sqlstate_kind kind;
} table[] = {
    {"25006", SQLSTATE_SESSION},   /* read-only: a standby, or default_transaction_read_only */
    {"25P03", SQLSTATE_SESSION},   /* idle in a transaction for too long */
    {"25P04", SQLSTATE_SESSION},   /* the transaction took too long */
    {"42501", SQLSTATE_FORBIDDEN}, /* insufficient privilege */
    {"42P05", SQLSTATE_SESSION},   /* a prepared statement of this name exists: a pooler has changed the session */
    {"54000", SQLSTATE_TRANSIENT}, /* writes are stopped to prevent the wraparound of transaction ids */
    {"55000", SQLSTATE_TRANSIENT}, /* an object is not in the state that is needed, e.g. a database that is locked */
    {"55P03", SQLSTATE_TRANSIENT}, /* lock time-out */

    {"00", SQLSTATE_PERMANENT}, /* success, warnings and "no data", which are no errors */
    {"01", SQLSTATE_PERMANENT},    {"02", SQLSTATE_PERMANENT},
    {"03", SQLSTATE_PERMANENT}, /* statement not yet complete */
    {"08", SQLSTATE_SESSION},   /* connection; 08P01 is also what PgBouncer says of a server that it can't reach */
    {"09", SQLSTATE_PERMANENT}, /* triggered action */
    {"0A", SQLSTATE_TRANSIENT}, /* not supported: a prepared plan whose result type a migration has changed */
    {"0B", SQLSTATE_PERMANENT}, /* transaction initiation */
    {"0F", SQLSTATE_PERMANENT}, /* locator */
    {"0L", SQLSTATE_PERMANENT}, /* grantor */
    {"0P", SQLSTATE_PERMANENT}, /* role specification */
    {"0Z", SQLSTATE_PERMANENT}, /* diagnostics */
    {"10", SQLSTATE_PERMANENT}, /* XQuery */
    {"20", SQLSTATE_PERMANENT}, /* case not found */
    {"21", SQLSTATE_PERMANENT}, /* cardinality */
    {"22", SQLSTATE_PERMANENT}, /* data, e.g. a character that the database can't store */
    {"23", SQLSTATE_PERMANENT}, /* constraint */
    {"24", SQLSTATE_PERMANENT}, /* cursor state */
    {"25", SQLSTATE_PERMANENT}, /* transaction state */
    {"26", SQLSTATE_SESSION},   /* no such prepared statement: a pooler has changed the session */
    {"27", SQLSTATE_PERMANENT}, /* triggered data change */
    {"28", SQLSTATE_SESSION},   /* authorization: a password that is being rotated, a role that may not log in yet */
    {"2B", SQLSTATE_PERMANENT}, /* dependent privileges */
    {"2D", SQLSTATE_PERMANENT}, /* transaction termination */
    {"2F", SQLSTATE_PERMANENT}, /* SQL routine */
    {"34", SQLSTATE_PERMANENT}, /* cursor name */
    {"38", SQLSTATE_PERMANENT}, /* external routine */
    {"39", SQLSTATE_PERMANENT}, /* external routine invocation */
    {"3B", SQLSTATE_PERMANENT}, /* savepoint */
    {"3D", SQLSTATE_SESSION},   /* no such database: not created or restored yet */
    {"3F", SQLSTATE_SESSION},   /* no such schema: not created or restored yet */
    {"40", SQLSTATE_TRANSIENT}, /* transaction rolled back: serialization failure, deadlock */
    {"42", SQLSTATE_SCHEMA},    /* syntax, or a table, column or function that does not exist */
    {"44", SQLSTATE_PERMANENT}, /* check option of a view */
    {"53", SQLSTATE_TRANSIENT}, /* resources: disk, memory, connections */
    {"54", SQLSTATE_PERMANENT}, /* program limit, e.g. the size of a row */
    {"55", SQLSTATE_PERMANENT}, /* object state, e.g. in use */
    {"57", SQLSTATE_TRANSIENT}, /* cancelled, shutting down, starting up, in recovery */
    {"58", SQLSTATE_TRANSIENT}, /* system, e.g. of the disk */
    {"72", SQLSTATE_TRANSIENT}, /* snapshot too old */
    {"F0", SQLSTATE_PERMANENT}, /* configuration file */
    {"HV", SQLSTATE_PERMANENT}, /* foreign data wrapper */
    {"P0", SQLSTATE_PERMANENT}, /* raised by PL/pgSQL */
    {"XX", SQLSTATE_PERMANENT}, /* internal error, corrupted data */
};

enum sqlstate_kind sqlstate_kind(const char *state) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strncmp(state, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].kind;
    return SQLSTATE_PERMANENT;
}
