/* SPDX-License-Identifier: Apache-2.0 */
/* A program in which one of the replaced functions is not the edge's. BYPASSED names the function, and BYPASSED_NUMBER
 * is its number in enum edge_function. The linker takes this definition, since it comes before the edge's (-z muldefs).
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "edge/edge.h"
#include "rpc/core.h"
#include "rpc/self_test.h"
#include "rpc/server.h"

#if BYPASSED_NUMBER == 0
/* For the edge, a connection that it has not accepted is no client. */
#define MISSING "accept4, recvmsg, sendmsg"
#else
#define MISSING BYPASSED
#endif

#if BYPASSED_NUMBER == 0
int bypass_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) __asm__("accept4");
int bypass_accept4(int listener, struct sockaddr *address, socklen_t *len, int flags) {
    return (int)syscall(SYS_accept4, listener, address, len, flags);
}
#elif BYPASSED_NUMBER == 1
ssize_t bypass_recvmsg(int fd, struct msghdr *message, int flags) __asm__("recvmsg");
ssize_t bypass_recvmsg(int fd, struct msghdr *message, int flags) {
    return syscall(SYS_recvmsg, fd, message, flags);
}
#elif BYPASSED_NUMBER == 2
ssize_t bypass_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
ssize_t bypass_sendmsg(int fd, const struct msghdr *message, int flags) {
    return syscall(SYS_sendmsg, fd, message, flags);
}
#else
static int next_ssl(const char *name, SSL *ssl, void *bytes, int size) {
    void *next = dlsym(RTLD_NEXT, name);
    int (*call)(SSL *, void *, int);
    memcpy(&call, &next, sizeof call);
    return call(ssl, bytes, size);
}
#if BYPASSED_NUMBER == 3
int bypass_ssl_read(SSL *ssl, void *bytes, int size) __asm__("SSL_read");
int bypass_ssl_read(SSL *ssl, void *bytes, int size) {
    return next_ssl("SSL_read", ssl, bytes, size);
}
#else
int bypass_ssl_write(SSL *ssl, const void *bytes, int size) __asm__("SSL_write");
int bypass_ssl_write(SSL *ssl, const void *bytes, int size) {
    return next_ssl("SSL_write", ssl, (void *)(uintptr_t)bytes, size);
}
#endif
#endif

Test(bypass, the_self_test_finds_the_function_that_the_core_does_not_call, .timeout = 60) {
    struct err err;
    core_init();
    edge_init(&(struct edge_limits){.max_metadata_bytes = 16384, .max_message_bytes = 65536});
    bool with_tls = BYPASSED_NUMBER >= 3;
    cr_assert_not(self_test(with_tls, &err));
    cr_expect_not_null(strstr(err.text, " does not call its " MISSING ". "), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "EDGE=OFF"), "%s", err.text);
    if (with_tls)
        cr_expect(self_test(false, &err), "without TLS it is not missed: %s", err.text);
    core_deinit();
}

#if BYPASSED_NUMBER >= 3
/* The certificate need not exist: the self-test comes before the files are read. */
Test(bypass, a_server_with_tls_tests_the_functions_of_tls_before_it_serves, .timeout = 60) {
    const struct rpc_tls tls = {.certificate = "/nowhere", .key = "/nowhere"};
    struct rpc_server *server;
    struct err err;
    cr_assert(rpc_server_new(&(struct rpc_server_options){.listen = "127.0.0.1:0", .tls = &tls}, &server, &err));
    cr_assert_not(rpc_server_start(server, &err));
    cr_expect_not_null(strstr(err.text, " does not call its " MISSING ". "), "%s", err.text);
    rpc_server_free(server);
}
#endif
