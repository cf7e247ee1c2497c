/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* OpenSSL would ask for a passphrase on the terminal. */
static int no_passphrase(char *room, int size, int for_writing, void *arg) {
    (void)room, (void)size, (void)for_writing, (void)arg;
    return 0;
}

static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "unknown error";
}

static bool refuse(struct err *err, const char *setting, const char *path) {
    err_set(err, ERR_INVALID, BACKEND_REDIS, "%s: %s can't be used: %s", setting, path, reason());
    ERR_clear_error();
    return false;
}

static bool load_files(SSL_CTX *context, const struct redis_tls *tls, struct err *err) {
    if (*tls->ca ? SSL_CTX_load_verify_locations(context, tls->ca, NULL) != 1
                 : SSL_CTX_set_default_verify_paths(context) != 1)
        return refuse(err, "redis.tls_ca", tls->ca);
    if (!*tls->certificate)
        return true;
    if (SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1)
        return refuse(err, "redis.tls_certificate", tls->certificate);
    /* This also compares the key with the certificate. */
    if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1)
        return refuse(err, "redis.tls_key", tls->key);
    return true;
}

static SSL_CTX *context_new(const struct redis_tls *tls, struct err *err) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        err_set(err, ERR_INTERNAL, BACKEND_REDIS, "OpenSSL: %s", reason());
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    if (load_files(context, tls, err))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

bool redis_tls_check(const struct redis_tls *tls, struct err *err) {
    SSL_CTX *context = context_new(tls, err);
    SSL_CTX_free(context);
    return context != NULL;
}

static bool expect_name(SSL *session, const char *name) {
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name) == 1;
    return SSL_set_tlsext_host_name(session, name) == 1 && SSL_set1_host(session, name) == 1;
}

static void tell_failure(SSL *session, int result, const char *name, struct err *err) {
    int error = SSL_get_error(session, result), system = errno;
    long verified = SSL_get_verify_result(session);
    if (verified != X509_V_OK)
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "TLS: the certificate is not accepted for %s: %s", name,
                X509_verify_cert_error_string(verified));
    else if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "TLS: no answer to the handshake in time");
    else if (error == SSL_ERROR_SSL)
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "TLS: %s", reason());
    else
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "TLS: the server closed the connection%s%s", system ? ": " : "",
                system ? strerror(system) : "");
}

SSL *redis_tls_connect(const struct redis_tls *tls, const char *host, int fd, struct err *err) {
    const char *name = *tls->name ? tls->name : host;
    ERR_clear_error();
    SSL_CTX *context = context_new(tls, err);
    if (!context) {
        if (err)
            err->code = ERR_UNAVAILABLE, err->retriable = true; /* the files may be about to be replaced */
        return NULL;
    }
    SSL *session = SSL_new(context);
    SSL_CTX_free(context); /* the session keeps it */
    if (!session || SSL_set_fd(session, fd) != 1 || !expect_name(session, name)) {
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "OpenSSL: %s", reason());
        SSL_free(session);
        return NULL;
    }
    errno = 0;
    int result = SSL_connect(session);
    if (result == 1)
        return session;
    tell_failure(session, result, name, err);
    ERR_clear_error();
    SSL_free(session);
    return NULL;
}
