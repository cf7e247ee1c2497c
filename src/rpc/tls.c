/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates: read from PEM files, checked, and turned into the core's credentials.
 *
 * A server looks for changed files when a client connects, at most once a second. The core would take any bytes and
 * then fail every handshake without a reason, so this file checks them first. Files that do not fit together (a
 * certificate renewed a moment before its key) are reported and not used; the former ones stay in use until the new
 * ones fit. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rpc/tls.h"

#define FILE_MAX_BYTES (1 << 20) /* a bundle of all public authorities has 200 KiB */
#define LOOK_AGAIN_US  US_PER_S
#define SYSTEM_CA      "/etc/ssl/certs/ca-certificates.crt"

/* --- files --- */

/* The contents of a file as a string, to be freed; NULL on failure. */
static char *read_file(const char *path, const char *what, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file) {
        err_set(err, ERR_INVALID, BACKEND_NONE, "%s %s can't be opened: %s", what, path, strerror(errno));
        return NULL;
    }
    char *text = memory_new(1, FILE_MAX_BYTES + 1);
    size_t len = fread(text, 1, FILE_MAX_BYTES, file);
    const char *wrong = ferror(file) ? "can't be read" : len == FILE_MAX_BYTES ? "is longer than 1 MiB" : NULL;
    fclose(file);
    if (!wrong)
        return text;
    err_set(err, ERR_INVALID, BACKEND_NONE, "%s %s %s", what, path, wrong);
    free(text);
    return NULL;
}

/* OpenSSL asks for a passphrase by this function, but there is nobody to ask. */
static int no_passphrase(char *room, int size, int for_writing, void *arg) {
    (void)room, (void)size, (void)for_writing, (void)arg;
    return 0;
}

static X509 *first_certificate(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return certificate;
}

static EVP_PKEY *first_key(const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return key;
}

/* The contents of the files. */
struct pem {
    char *certificate, *key, *ca;
};

static void pem_deinit(struct pem *pem) {
    free(pem->certificate);
    if (pem->key)
        OPENSSL_cleanse(pem->key, strlen(pem->key));
    free(pem->key);
    free(pem->ca);
    *pem = (struct pem){0};
}

static bool pem_check(const struct pem *pem, const struct rpc_tls *tls, struct err *err) {
    X509 *own = pem->certificate ? first_certificate(pem->certificate) : NULL;
    EVP_PKEY *key = pem->key ? first_key(pem->key) : NULL;
    X509 *ca = pem->ca ? first_certificate(pem->ca) : NULL;
    bool ok = true;
    if (pem->certificate && !own)
        ok = err_set(err, ERR_INVALID, BACKEND_NONE, "the certificate %s has no certificate in PEM", tls->certificate);
    else if (pem->key && !key)
        ok = err_set(err, ERR_INVALID, BACKEND_NONE, "the key %s has no private key in PEM without passphrase",
                     tls->key);
    else if (own && key && X509_check_private_key(own, key) != 1)
        ok = err_set(err, ERR_INVALID, BACKEND_NONE, "the key %s is not the one of the certificate %s", tls->key,
                     tls->certificate);
    else if (pem->ca && !ca)
        ok = err_set(err, ERR_INVALID, BACKEND_NONE, "the authorities %s have no certificate in PEM", tls->ca);
    X509_free(own);
    EVP_PKEY_free(key);
    X509_free(ca);
    ERR_clear_error();
    return ok;
}

static bool pem_read(const struct rpc_tls *tls, struct pem *ret_pem, struct err *err) {
    struct pem pem = {0};
    if ((!tls->certificate || (pem.certificate = read_file(tls->certificate, "the certificate", err))) &&
        (!tls->key || (pem.key = read_file(tls->key, "the key", err))) &&
        (!tls->ca || (pem.ca = read_file(tls->ca, "the authorities", err))) && pem_check(&pem, tls, err)) {
        *ret_pem = pem;
        return true;
    }
    pem_deinit(&pem);
    return false;
}

/* --- server --- */

/* Differs when a file was changed or replaced. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct tls_server {
    struct rpc_tls files; /* its strings are owned */
    void (*on_reload)(void *arg, const struct err *err);
    void *on_reload_arg;

    pthread_mutex_t lock; /* guards what follows: several clients may connect at once */
    struct stamp stamps[3];
    int64_t looked_us;
    bool is_loaded;
};

static struct stamp stamp_of(const char *path) {
    struct stat found;
    if (!path || stat(path, &found) != 0)
        return (struct stamp){0};
    return (struct stamp){found.st_dev, found.st_ino, found.st_size, found.st_ctim};
}

static bool stamps_differ(const struct stamp *a, const struct stamp *b) {
    return a->device != b->device || a->inode != b->inode || a->size != b->size ||
           a->changed.tv_sec != b->changed.tv_sec || a->changed.tv_nsec != b->changed.tv_nsec;
}

/* Whether the files have changed since the last look. Lock held. */
static bool look_again(struct tls_server *tls) {
    const char *const paths[] = {tls->files.certificate, tls->files.key, tls->files.ca};
    bool changed = !tls->is_loaded;
    tls->looked_us = clock_mono_us();
    for (size_t i = 0; i < 3; i++) {
        struct stamp now = stamp_of(paths[i]);
        changed |= stamps_differ(&now, &tls->stamps[i]);
        tls->stamps[i] = now;
    }
    return changed;
}

/* The core (1.51.1) aborts where a fetched configuration has no authorities, even if it asks clients for no
 * certificate. Then it gets the server's own certificate, against which nothing is checked. */
static grpc_ssl_server_certificate_config *make_config(const struct pem *pem) {
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = pem->key, .cert_chain = pem->certificate};
    return grpc_ssl_server_certificate_config_create(pem->ca ? pem->ca : pem->certificate, &pair, 1);
}

/* The core calls this before each handshake, on a thread of its own. */
static grpc_ssl_certificate_config_reload_status fetch_config(void *arg, grpc_ssl_server_certificate_config **config) {
    struct tls_server *tls = arg;
    struct pem pem;
    struct err err;
    pthread_mutex_lock(&tls->lock);
    bool is_first = !tls->is_loaded;
    bool is_due = is_first || clock_mono_us() - tls->looked_us >= LOOK_AGAIN_US;
    if (!is_due || !look_again(tls)) {
        pthread_mutex_unlock(&tls->lock);
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    bool ok = pem_read(&tls->files, &pem, &err);
    tls->is_loaded |= ok;
    pthread_mutex_unlock(&tls->lock);
    if (tls->on_reload && !is_first)
        tls->on_reload(tls->on_reload_arg, ok ? NULL : &err);
    if (!ok)
        return is_first ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    *config = make_config(&pem);
    pem_deinit(&pem);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static char *copy_of(const char *text) {
    return text ? memory_copy(text) : NULL;
}

bool tls_server_new(const struct rpc_tls *files, void (*on_reload)(void *arg, const struct err *err),
                    void *on_reload_arg, struct tls_server **ret_tls, struct err *err) {
    if (!files->certificate || !files->key)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "TLS needs a certificate and its key: one of them is missing");
    struct tls_server *tls = memory_new(1, sizeof *tls);
    *tls = (struct tls_server){.files = {.certificate = copy_of(files->certificate),
                                         .key = copy_of(files->key),
                                         .ca = copy_of(files->ca),
                                         .client_may_be_unknown = files->client_may_be_unknown},
                               .on_reload = on_reload,
                               .on_reload_arg = on_reload_arg};
    pthread_mutex_init(&tls->lock, NULL);
    *ret_tls = tls;
    return true;
}

grpc_server_credentials *tls_server_credentials(struct tls_server *tls, struct err *err) {
    struct pem pem;
    if (!pem_read(&tls->files, &pem, err)) /* checks only: the core gives no reason */
        return NULL;
    pem_deinit(&pem);
    tls->is_loaded = false;
    grpc_ssl_client_certificate_request_type request = !tls->files.ca ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                       : tls->files.client_may_be_unknown
                                                           ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                                           : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch_config, tls));
}

void tls_server_free(struct tls_server *tls) {
    if (!tls)
        return;
    free((char *)(uintptr_t)tls->files.certificate);
    free((char *)(uintptr_t)tls->files.key);
    free((char *)(uintptr_t)tls->files.ca);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

/* --- client --- */

grpc_channel_credentials *tls_client_credentials(const struct rpc_tls *files, struct err *err) {
    struct rpc_tls with_ca = *files;
    struct pem pem;
    if (!with_ca.ca)
        with_ca.ca = SYSTEM_CA;
    if (!files->certificate != !files->key) {
        err_set(err, ERR_INVALID, BACKEND_NONE, "a client's certificate and its key come together: one is missing");
        return NULL;
    }
    if (!pem_read(&with_ca, &pem, err))
        return NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.certificate};
    grpc_channel_credentials *credentials = grpc_ssl_credentials_create_ex(pem.ca, pem.key ? &pair : NULL, NULL, NULL);
    pem_deinit(&pem);
    return credentials;
}
