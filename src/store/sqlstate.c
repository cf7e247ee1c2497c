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
    {"55000", SQLSTATE_PASSING},   /* an object is not in the state that is needed, e.g. a database that is locked */
    {"55P03", SQLSTATE_PASSING},   /* lock time-out */

    {"00", SQLSTATE_LASTING}, /* success, warnings and "no data", which are no errors */
    {"01", SQLSTATE_LASTING},      {"02", SQLSTATE_LASTING}, {"03", SQLSTATE_LASTING}, /* statement not yet complete */
    {"08", SQLSTATE_SESSION}, /* connection; 08P01 is also what PgBouncer says of a server that it can't reach */
    {"09", SQLSTATE_LASTING}, /* triggered action */
    {"0A", SQLSTATE_PASSING}, /* not supported: a prepared plan whose result type a migration has changed */
    {"0B", SQLSTATE_LASTING}, /* transaction initiation */
    {"0F", SQLSTATE_LASTING}, /* locator */
    {"0L", SQLSTATE_LASTING}, /* grantor */
    {"0P", SQLSTATE_LASTING}, /* role specification */
    {"0Z", SQLSTATE_LASTING}, /* diagnostics */
    {"10", SQLSTATE_LASTING}, /* XQuery */
    {"20", SQLSTATE_LASTING}, /* case not found */
    {"21", SQLSTATE_LASTING}, /* cardinality */
    {"22", SQLSTATE_LASTING}, /* data, e.g. a character that the database can't store */
    {"23", SQLSTATE_LASTING}, /* constraint */
    {"24", SQLSTATE_LASTING}, /* cursor state */
    {"25", SQLSTATE_LASTING}, /* transaction state */
    {"26", SQLSTATE_SESSION}, /* no such prepared statement: a pooler has changed the session */
    {"27", SQLSTATE_LASTING}, /* triggered data change */
    {"28", SQLSTATE_SESSION}, /* authorization: a password that is being rotated, a role that may not log in yet */
    {"2B", SQLSTATE_LASTING}, /* dependent privileges */
    {"2D", SQLSTATE_LASTING}, /* transaction termination */
    {"2F", SQLSTATE_LASTING}, /* SQL routine */
    {"34", SQLSTATE_LASTING}, /* cursor name */
    {"38", SQLSTATE_LASTING}, /* external routine */
    {"39", SQLSTATE_LASTING}, /* external routine invocation */
    {"3B", SQLSTATE_LASTING}, /* savepoint */
    {"3D", SQLSTATE_SESSION}, /* no such database: not created or restored yet */
    {"3F", SQLSTATE_SESSION}, /* no such schema: not created or restored yet */
    {"40", SQLSTATE_PASSING}, /* transaction rolled back: serialization failure, deadlock */
    {"42", SQLSTATE_SCHEMA},  /* syntax, or a table, column or function that does not exist */
    {"44", SQLSTATE_LASTING}, /* check option of a view */
    {"53", SQLSTATE_PASSING}, /* resources: disk, memory, connections */
    {"54", SQLSTATE_LASTING}, /* program limit, e.g. the size of a row */
    {"55", SQLSTATE_LASTING}, /* object state, e.g. in use */
    {"57", SQLSTATE_PASSING}, /* cancelled, shutting down, starting up, in recovery */
    {"58", SQLSTATE_PASSING}, /* system, e.g. of the disk */
    {"72", SQLSTATE_PASSING}, /* snapshot too old */
    {"F0", SQLSTATE_LASTING}, /* configuration file */
    {"HV", SQLSTATE_LASTING}, /* foreign data wrapper */
    {"P0", SQLSTATE_LASTING}, /* raised by PL/pgSQL */
    {"XX", SQLSTATE_LASTING}, /* internal error, corrupted data */
};

enum sqlstate_kind sqlstate_kind(const char *state) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strncmp(state, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].kind;
    return SQLSTATE_LASTING;
}
