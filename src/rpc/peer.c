/* SPDX-License-Identifier: Apache-2.0 */
/* The client of a call: its address, and the names that its certificate proves. On the call's poller thread. */
#include <grpc/grpc_security_constants.h>
#include <grpc/support/alloc.h>
#include <openssl/crypto.h>
#include <string.h>

#include "rpc/call.h"
#include "rpc/local.h"
#include "rpc/taken.h"

static char *copied(struct rpc_call *call, const char *text, size_t len) {
    return memcpy(arena_zalloc(&call->arena, len + 1), text, len);
}

/* The peer that a call from within the process names; NULL: it is no such call. */
static const char *told_peer(struct rpc_call *call) {
    const size_t key_len = LOCAL_KEY_SIZE - 1;
    size_t len;
    const char *value = rpc_call_metadata(call, RPC_LOCAL_PEER, &len);
    if (!value || len <= key_len || CRYPTO_memcmp(value, call->server->local_key, key_len) != 0)
        return NULL;
    return copied(call, value + key_len + 1, len - key_len - 1);
}

const char *rpc_call_peer(struct rpc_call *call) {
    if (call->is_taken)
        return taken_peer(call);
    const char *told = told_peer(call);
    if (told)
        return told;
    char *peer = grpc_call_get_peer(call->core);
    char *copy = copied(call, peer, strlen(peer));
    gpr_free(peer);
    return copy;
}

const char *rpc_call_peer_name(struct rpc_call *call, size_t index) {
    grpc_auth_context *context = call->is_taken ? NULL : grpc_call_auth_context(call->core);
    if (!context)
        return NULL;
    grpc_auth_property_iterator each = grpc_auth_context_find_properties_by_name(context, GRPC_X509_SAN_PROPERTY_NAME);
    const grpc_auth_property *property;
    char *name = NULL;
    while ((property = grpc_auth_property_iterator_next(&each)) && index > 0)
        index--;
    if (property) {
        name = arena_zalloc(&call->arena, property->value_length + 1);
        memcpy(name, property->value, property->value_length);
    }
    grpc_auth_context_release(context);
    return name;
}

/* FNV-1a. */
static uint64_t hash_of(const char *text, size_t len) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

uint64_t call_address_key(struct rpc_call *call) {
    const char *peer = rpc_call_peer(call), *port = strrchr(peer, ':');
    uint64_t key = hash_of(peer, port ? (size_t)(port - peer) : strlen(peer));
    return key ? key : 1;
}
