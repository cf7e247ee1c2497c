/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test of the edge: a server and a client of the bare core connect, and the edge tells which of its functions
 * the core has called. */
#include "rpc/self_test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "edge/edge.h"
#include "rpc/core.h"

/* How long client and server may take to connect, and then the server to call every function. */
#define PATIENCE_MS        5000
#define SERVER_PATIENCE_MS 5000
#define STEP_MS            5
#define PEM_SIZE           2048
#define NAME               "couponsd.self-test"

/* --- a certificate for the test alone --- */

struct certificate {
    char key[PEM_SIZE], chain[PEM_SIZE];
};

static bool copy_pem(BIO *from, char ret_pem[static PEM_SIZE]) {
    int n = BIO_read(from, ret_pem, PEM_SIZE - 1);
    ret_pem[n > 0 ? n : 0] = 0;
    return n > 0;
}

static bool sign(X509 *x509, EVP_PKEY *key) {
    X509_NAME *name = X509_get_subject_name(x509);
    X509_EXTENSION *alternative = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" NAME);
    bool ok = alternative && X509_set_version(x509, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x509), 1) &&
              X509_gmtime_adj(X509_getm_notBefore(x509), -86400) && X509_gmtime_adj(X509_getm_notAfter(x509), 86400) &&
              X509_set_pubkey(x509, key) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)NAME, -1, -1, 0) &&
              X509_set_issuer_name(x509, name) && X509_add_ext(x509, alternative, -1) &&
              X509_sign(x509, key, EVP_sha256());
    X509_EXTENSION_free(alternative);
    return ok;
}

static bool certificate_new(struct certificate *ret) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    BIO *key_pem = BIO_new(BIO_s_mem()), *chain_pem = BIO_new(BIO_s_mem());
    bool ok = key && x509 && key_pem && chain_pem && sign(x509, key) &&
              PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) &&
              PEM_write_bio_X509(chain_pem, x509) && copy_pem(key_pem, ret->key) && copy_pem(chain_pem, ret->chain);
    BIO_free(key_pem);
    BIO_free(chain_pem);
    X509_free(x509);
    EVP_PKEY_free(key);
    return ok;
}

/* --- a server and a client that meet --- */

struct meeting {
    grpc_completion_queue *queue;
    grpc_server *server;
    grpc_channel *channel;
    const char *host; /* the server's host, as a target names it */
    int port;
};

static gpr_timespec after_ms(int64_t ms) {
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static bool listen_on(struct meeting *meeting, const struct certificate *certificate) {
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};
    static const char *const hosts[] = {"ipv4:127.0.0.1", "ipv6:[::1]"}; /* no name is resolved */
    for (size_t i = 0; i < 2 && meeting->port <= 0; i++) {
        meeting->host = hosts[i];
        grpc_server_credentials *credentials;
        if (certificate) {
            grpc_ssl_pem_key_cert_pair pair = {certificate->key, certificate->chain};
            credentials =
                grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
        } else {
            credentials = grpc_insecure_server_credentials_create();
        }
        meeting->port = grpc_server_add_http2_port(meeting->server, addresses[i], credentials);
        grpc_server_credentials_release(credentials);
    }
    return meeting->port > 0;
}

static void connect_to(struct meeting *meeting, const struct certificate *certificate) {
    char target[40];
    grpc_arg name = {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG};
    name.value.string = (char *)(uintptr_t)NAME;
    grpc_arg own = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL};
    own.value.integer = 1;
    grpc_arg direct = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_HTTP_PROXY};
    grpc_arg args[] = {own, direct, name};
    const grpc_channel_args all = {.num_args = certificate ? 3 : 2, .args = args};
    grpc_channel_credentials *credentials = certificate
                                                ? grpc_ssl_credentials_create(certificate->chain, NULL, NULL, NULL)
                                                : grpc_insecure_credentials_create();
    snprintf(target, sizeof target, "%s:%d", meeting->host, meeting->port);
    meeting->channel = grpc_channel_create(target, credentials, &all);
    grpc_channel_credentials_release(credentials);
}

/* Runs both until the client has the server's settings. By then each side has read and sent. */
static bool meet(struct meeting *meeting) {
    gpr_timespec end = after_ms(PATIENCE_MS);
    for (;;) {
        grpc_connectivity_state state = grpc_channel_check_connectivity_state(meeting->channel, 1);
        if (state == GRPC_CHANNEL_READY || state == GRPC_CHANNEL_SHUTDOWN)
            return state == GRPC_CHANNEL_READY;
        grpc_channel_watch_connectivity_state(meeting->channel, state, end, meeting->queue, NULL);
        grpc_event event = grpc_completion_queue_next(meeting->queue, end, NULL);
        if (event.type != GRPC_OP_COMPLETE || !event.success) {
            /* The watch ends at the same time; its event must not be left behind. */
            if (event.type != GRPC_OP_COMPLETE)
                grpc_completion_queue_next(meeting->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            return false;
        }
    }
}

static void part(struct meeting *meeting) {
    if (meeting->channel)
        grpc_channel_destroy(meeting->channel);
    grpc_server_shutdown_and_notify(meeting->server, meeting->queue, NULL);
    grpc_server_cancel_all_calls(meeting->server);
    grpc_completion_queue_next(meeting->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_server_destroy(meeting->server);
    grpc_completion_queue_shutdown(meeting->queue);
    while (grpc_completion_queue_next(meeting->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(meeting->queue);
}

/* --- the verdict --- */

static bool all_passed(int n_functions) {
    bool all = true;
    for (int i = 0; i < n_functions; i++)
        all = all && edge_test_called((enum edge_function)i);
    return all;
}

/* The client is ready before the server has read what the client has sent. */
static void wait_for_server(const struct meeting *meeting, int n_functions) {
    gpr_timespec end = after_ms(SERVER_PATIENCE_MS);
    while (!all_passed(n_functions) && gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), end) < 0)
        grpc_completion_queue_next(meeting->queue, after_ms(STEP_MS), NULL);
}

static bool judge(int n_functions, struct err *err) {
    char missing[80] = "";
    int used = 0;
    for (int i = 0; i < n_functions; i++)
        if (!edge_test_called((enum edge_function)i))
            used += snprintf(missing + used, sizeof missing - (size_t)used, "%s%s", used ? ", " : "",
                             edge_function_name((enum edge_function)i));
    return used == 0 ||
           err_set(err, ERR_INTERNAL, BACKEND_NONE,
                   "the edge is not in force: gRPC's core does not call its %s. Another library defines it as well, or "
                   "gRPC was linked with -Bsymbolic or with a TLS library of its own. Link gRPC and OpenSSL as this "
                   "system has them, or build with -DCOUPONSD_EDGE=OFF to serve without the edge's protection",
                   missing);
}

enum verdict { IN_FORCE, NOT_IN_FORCE, UNKNOWN };

static enum verdict run(bool with_tls, struct err *err) {
    struct certificate certificate;
    if (with_tls && !certificate_new(&certificate))
        return UNKNOWN;
    const struct certificate *used = with_tls ? &certificate : NULL;
    int n_functions = with_tls ? EDGE_FUNCTIONS : EDGE_DECRYPT;
    struct meeting meeting = {.queue = grpc_completion_queue_create_for_next(NULL)};
    meeting.server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(meeting.server, meeting.queue, NULL);
    bool listens = listen_on(&meeting, used), met = false, fine = false;
    grpc_server_start(meeting.server);
    if (listens) {
        edge_test_begin(meeting.port, with_tls ? NAME : NULL);
        connect_to(&meeting, used);
        met = meet(&meeting);
        if (met)
            wait_for_server(&meeting, n_functions);
        fine = met && judge(n_functions, err);
    }
    part(&meeting);
    edge_test_end();
    return !met ? UNKNOWN : fine ? IN_FORCE : NOT_IN_FORCE;
}

static atomic_bool is_unknown;

bool self_test(bool with_tls, struct err *err) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool is_done[2]; /* by with_tls; guarded by lock */
    if (!edge_is_present())
        return true;
    pthread_mutex_lock(&lock);
    enum verdict verdict = is_done[with_tls] ? IN_FORCE : run(with_tls, err);
    is_done[with_tls] = verdict != NOT_IN_FORCE;
    if (verdict == UNKNOWN)
        atomic_store(&is_unknown, true);
    pthread_mutex_unlock(&lock);
    return verdict != NOT_IN_FORCE;
}

bool self_test_had_no_result(void) {
    return atomic_load(&is_unknown);
}
