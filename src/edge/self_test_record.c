/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a self-test: one for the process.
 *
 * The connections of the test are those to its port (door.c marks them). Nothing tells for certain which connection a
 * TLS session belongs to, so the test's sessions are told by the certificate of its server. */
#include "edge/self_test_record.h"

#include <openssl/x509.h>
#include <string.h>

#define NAME_SIZE 64

atomic_int self_test_port;
static _Atomic(const char *) test_name; /* set before the port */
static atomic_bool called[EDGE_FUNCTIONS];

bool self_test_has(const SSL *ssl) {
    const char *name = atomic_load(&test_name);
    X509 *certificate = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : NULL;
    char found[NAME_SIZE];
    return name && certificate &&
           X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, found, sizeof found) > 0 &&
           strcmp(found, name) == 0;
}

void self_test_record(enum edge_function function) {
    atomic_store_explicit(&called[function], true, memory_order_relaxed);
}

void self_test_begin(int port, const char *name) {
    for (int i = 0; i < EDGE_FUNCTIONS; i++)
        atomic_store(&called[i], false);
    atomic_store(&test_name, name);
    atomic_store(&self_test_port, port);
}

bool self_test_called(enum edge_function function) {
    return atomic_load(&called[function]);
}

void self_test_end(void) {
    atomic_store(&self_test_port, 0);
}
