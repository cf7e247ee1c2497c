/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls of the replaced functions the record of a self-test has. The test of the core is rpc/self_test.c. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "edge/edge.h"
#include "toy.h"

#define NAME "the-test"

static int port_of(const struct toy *toy) {
    return atoi(strrchr(rpc_server_address(toy->server), ':') + 1);
}

static void echo(struct toy *toy) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "hello", 0);
    cr_assert_eq(call->code, RPC_OK, "%s", call->message);
    toy_call_free(call);
}

static bool wait_for(enum edge_function function) {
    int64_t end_us = clock_mono_us() + TOY_WAIT_MS * US_PER_MS;
    while (!edge_test_called(function) && clock_mono_us() < end_us)
        clock_sleep_us(US_PER_MS);
    return edge_test_called(function);
}

Test(self_test_record, it_has_the_connections_to_the_port_and_no_others, .timeout = 60) {
    struct toy *toy = toy_new(NULL);
    edge_test_begin(1, NULL);
    echo(toy);
    for (int i = 0; i < EDGE_FUNCTIONS; i++)
        cr_expect_not(edge_test_called((enum edge_function)i), "%s", edge_function_name((enum edge_function)i));
    edge_test_end();

    edge_test_begin(port_of(toy), NULL);
    echo(toy); /* on the connection from before the test */
    cr_expect_not(edge_test_called(EDGE_READ) || edge_test_called(EDGE_SEND));
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(toy)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    cr_assert_eq(write(fd, "PRI", 3), 3);
    cr_expect(wait_for(EDGE_ACCEPT));
    cr_expect(wait_for(EDGE_READ));
    cr_expect(wait_for(EDGE_SEND));
    close(fd);
    edge_test_end();
    toy_free(toy);
}

/* A server's session with a certificate of that name. */
static SSL *session_new(const char *name) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                               -1, 0);
    X509_set_pubkey(certificate, key);
    cr_assert(X509_sign(certificate, key, EVP_sha256()));
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(context);
    cr_assert_eq(SSL_use_certificate(ssl, certificate), 1);
    SSL_set_accept_state(ssl);
    SSL_CTX_free(context);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ssl;
}

/* Both functions fail, because the session has no connection. They were called all the same. */
static bool is_recorded(SSL *ssl, const char *name) {
    char byte = 0;
    edge_test_begin(1, name);
    SSL_read(ssl, &byte, 1);
    bool has_read = edge_test_called(EDGE_DECRYPT);
    SSL_write(ssl, &byte, 1);
    cr_expect_eq(edge_test_called(EDGE_ENCRYPT), has_read);
    edge_test_end();
    return has_read;
}

Test(self_test_record, it_has_the_tls_sessions_of_the_server_of_that_name_and_no_others) {
    edge_init(&(struct edge_limits){.max_metadata_bytes = 16384, .max_message_bytes = 65536});
    SSL *ours = session_new(NAME), *theirs = session_new("another");
    cr_expect(is_recorded(ours, NAME));
    cr_expect_not(is_recorded(theirs, NAME));
    cr_expect_not(is_recorded(ours, NULL));
    SSL_set_connect_state(ours);
    cr_expect_not(is_recorded(ours, NAME), "a client's session");
    SSL_free(ours);
    SSL_free(theirs);
}
