/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check_access.h"

#include <string.h>

static bool is_loopback(const char *listen) {
    static const char *const hosts[] = {"127.", "[::1]:", "localhost:"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (strncmp(listen, hosts[i], strlen(hosts[i])) == 0)
            return true;
    return false;
}

static bool check_pair(const char *side, const char *certificate, const char *key, struct err *err) {
    const char *set = key[0] ? "key" : "certificate", *other = key[0] ? "certificate" : "key";
    return !certificate[0] == !key[0] ||
           err_set(err, ERR_INVALID, BACKEND_NONE, "%s.tls_%s is set without %s.tls_%s: TLS needs both", side, set,
                   side, other);
}

bool config_check_access(const struct config *config, struct err *err) {
    bool has_tls = config->grpc_tls_certificate[0];
    if (!check_pair("grpc", config->grpc_tls_certificate, config->grpc_tls_key, err) ||
        !check_pair("http", config->http_tls_certificate, config->http_tls_key, err))
        return false;
    if (config->grpc_tls_client_ca[0] && !has_tls)
        return err_set(
            err, ERR_INVALID, BACKEND_NONE,
            "grpc.tls_client_ca is set without grpc.tls_certificate: clients show certificates over TLS only");
    if (config->grpc_tls_client_optional && !config->grpc_tls_client_ca[0])
        return err_set(
            err, ERR_INVALID, BACKEND_NONE,
            "grpc.tls_client_optional is set without grpc.tls_client_ca, which names the authorities that sign "
            "client certificates");
    if ((config->access_callers[0] || config->access_admins[0] || config->access_observers[0]) &&
        !config->grpc_tls_client_ca[0])
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "access.callers, access.admins and access.observers are names in client certificates: set "
                       "grpc.tls_client_ca, or give roles to tokens (access.tokens)");
    if (!has_tls && !config->grpc_plaintext_anywhere && !is_loopback(config->grpc_listen))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "grpc.listen: %.100s is not loopback, and there is no TLS: set grpc.tls_certificate and "
                       "grpc.tls_key, or grpc.plaintext_anywhere=true where the network is trusted",
                       config->grpc_listen);
    return true;
}
