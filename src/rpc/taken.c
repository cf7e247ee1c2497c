/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that the edge takes; see taken.h.
 *
 * A call is taken only if all that it asks for can be done here: known headers in plain text, no compression. Others go
 * to the core, which answers them or says what is wrong with them.
 *
 * Locks. A call's lock is taken before that of its connection (edge/doorstep/taken.c). So `keep`, which runs with the
 * latter held, does no more than count. */
#include "rpc/taken.h"

#include <arpa/inet.h>
#include <grpc/grpc.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "rpc/core.h"
#include "rpc/encode.h"

#define TIMEOUT_DIGITS 8
#define FIELDS_MAX     16 /* headers and trailers of an error */
#define PEER_SIZE      80
#define FIELD_MAX      2048 /* bytes of a value, encoded */

/* --- which calls --- */

static bool is_name(const struct edge_field *field, const char *name) {
    return field->name_len == strlen(name) && memcmp(field->name, name, field->name_len) == 0;
}

static bool ends_with_bin(const struct edge_field *field) {
    return field->name_len >= 4 && memcmp(field->name + field->name_len - 4, "-bin", 4) == 0;
}

/* Whether the core would give it to services, and as it is. */
static bool is_plain(const struct edge_field *field) {
    for (size_t i = 0; i < field->name_len; i++) {
        char c = field->name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    for (size_t i = 0; i < field->value_len; i++)
        if (field->value[i] < ' ' || field->value[i] > '~')
            return false;
    return field->name_len > 0 && !ends_with_bin(field);
}

/* "100m" and the like. False: it is not valid. */
static bool read_timeout(const struct edge_field *field, int64_t *ret_us) {
    static const struct {
        char unit;
        int64_t us;
    } units[] = {
        {'H', 3600 * (int64_t)US_PER_S}, {'M', 60 * US_PER_S}, {'S', US_PER_S}, {'m', US_PER_MS}, {'u', 1},
    };
    size_t digits = field->value_len - 1;
    int64_t value = 0;
    if (field->value_len < 2 || digits > TIMEOUT_DIGITS)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (field->value[i] < '0' || field->value[i] > '9')
            return false;
        value = 10 * value + field->value[i] - '0';
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (field->value[digits] == units[i].unit) {
            *ret_us = value * units[i].us;
            return true;
        }
    *ret_us = value / 1000;
    return field->value[digits] == 'n';
}

/* Whether the call can be taken with this header. */
static bool suits(const struct edge_field *field, int64_t *timeout_us) {
    if (field->name_len > 0 && field->name[0] == ':')
        return true;
    if (is_name(field, "grpc-timeout"))
        return read_timeout(field, timeout_us);
    if (is_name(field, "grpc-encoding"))
        return field->value_len == strlen("identity") && memcmp(field->value, "identity", field->value_len) == 0;
    return is_plain(field);
}

static struct server_poller *poller_of_thread(const struct rpc_server *server) {
    for (int i = 0; i < server->options.pollers; i++)
        if (poller_is_here(&server->pollers[i].base))
            return &server->pollers[i];
    return NULL;
}

/* --- taking --- */

static grpc_slice copied(struct rpc_call *call, const char *text, size_t len) {
    char *copy = arena_alloc(&call->arena, len + 1);
    memcpy(copy, text, len);
    return grpc_slice_from_static_buffer(copy, len);
}

/* Whether services see the header, as they see it of calls that pass the core. */
static bool is_metadata(const struct edge_field *field) {
    static const char *const of_the_protocol[] = {"te", "content-type", "grpc-timeout", "grpc-encoding"};
    for (size_t i = 0; i < sizeof of_the_protocol / sizeof of_the_protocol[0]; i++)
        if (is_name(field, of_the_protocol[i]))
            return false;
    return field->name[0] != ':';
}

/* The metadata lie in the arena, so nobody has to free them. */
static void copy_metadata(struct rpc_call *call, const struct edge_call *edge_call) {
    call->metadata.metadata = ARENA_ARRAY(&call->arena, grpc_metadata, edge_call->n_fields);
    for (size_t i = 0; i < edge_call->n_fields; i++) {
        const struct edge_field *field = &edge_call->fields[i];
        if (is_metadata(field))
            call->metadata.metadata[call->metadata.count++] =
                (grpc_metadata){.key = copied(call, field->name, field->name_len),
                                .value = copied(call, field->value, field->value_len)};
    }
}

static struct edge_taken *take(void *arg, const struct edge_call *edge_call) {
    struct rpc_server *server = arg;
    struct server_poller *poller = poller_of_thread(server);
    int64_t timeout_us = INT64_MAX;
    if (!poller || atomic_load(&server->draining))
        return NULL;
    for (size_t i = 0; i < edge_call->n_fields; i++)
        if (!suits(&edge_call->fields[i], &timeout_us))
            return NULL;
    struct rpc_call *call = call_acquire(poller, server->early_method);
    call->is_taken = true;
    call->start_us = clock_mono_us();
    call->deadline_us = timeout_us == INT64_MAX ? INT64_MAX : call->start_us + timeout_us;
    call->answer_size = server->options.early.answer_bytes + edge_call->len;
    call->answer = arena_alloc(&call->arena, call->answer_size);
    copy_metadata(call, edge_call);
    return &call->taken;
}

static struct rpc_call *call_of(struct edge_taken *taken) {
    return OWNER_OF(taken, struct rpc_call, taken);
}

static void begin(void *arg, struct edge_taken *taken, const struct edge_call *edge_call) {
    (void)arg;
    call_receive_taken(call_of(taken), edge_call->message, edge_call->len);
}

static void keep(struct edge_taken *taken) {
    rpc_call_ref(call_of(taken));
}

void taken_tell_end(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    bool is_told = call->is_end_told, is_cancelled = atomic_load(&call->cancelled);
    int64_t end_us = call->life == CALL_ENDED ? call->end_us : clock_mono_us();
    int code = is_cancelled ? call_code_of_cancelled(call, end_us) : call->code;
    call->is_end_told = true;
    pthread_mutex_unlock(&call->lock);
    if (!is_told)
        call_tell_end(call, code, end_us);
}

static void on_gone(struct edge_taken *taken) {
    struct rpc_call *call = call_of(taken);
    atomic_store(&call->cancelled, true);
    call_run_on_cancel(call);
    taken_tell_end(call);
    rpc_call_unref(call);
}

void taken_offer(struct rpc_server *server, struct edge_early *early) {
    const struct rpc_server_options *options = &server->options;
    /* The core would close a connection of great age without regard to calls that it does not know. */
    if (options->early.answer_bytes == 0 || options->max_connection_age_ms > 0)
        return;
    for (struct service *service = server->services; service; service = service->next)
        for (unsigned i = 0; i < service->n_methods; i++)
            if (strcmp(service->methods[i].path, early->path) == 0 && service->methods[i].shape == RPC_UNARY)
                server->early_method = &service->methods[i];
    if (!server->early_method)
        return;
    early->answer_bytes = options->early.answer_bytes;
    early->taken_max = options->max_concurrent_streams > 0 ? options->max_concurrent_streams : INT_MAX;
    early->take = take;
    early->begin = begin;
    early->keep = keep;
    early->on_gone = on_gone;
}

/* --- answering --- */

void taken_respond(struct rpc_call *call, const ProtobufCMessage *message) {
    size_t len = protobuf_c_message_get_packed_size(message);
    if (PREFIX_BYTES + len > call->answer_size) {
        call_refuse(call, RPC_INTERNAL, "the response is larger than its method allows");
        return;
    }
    pthread_mutex_lock(&call->lock);
    if (call->life == CALL_ENDED) {
        pthread_mutex_unlock(&call->lock);
        return;
    }
    const uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                          (uint8_t)len};
    memcpy(call->answer, prefix, sizeof prefix);
    protobuf_c_message_pack(message, call->answer + PREFIX_BYTES);
    call->answer_len = PREFIX_BYTES + len;
    call->life = CALL_ENDED;
    call->end_us = clock_mono_us();
    bool is_to_wake = call_pump_soon(call);
    pthread_mutex_unlock(&call->lock);
    if (is_to_wake)
        call_wake(call);
    rpc_call_unref(call); /* the service's */
}

/* Headers on their way to the edge, as it wants them: terminated. */
struct fields {
    struct edge_header list[FIELDS_MAX];
    size_t n;
    struct arena *arena;
};

static void add(struct fields *fields, const char *name, const char *value) {
    if (fields->n < FIELDS_MAX)
        fields->list[fields->n++] = (struct edge_header){name, value};
}

static const char *text_of(struct fields *fields, grpc_slice slice) {
    size_t len = GRPC_SLICE_LENGTH(slice);
    char *text = arena_alloc(fields->arena, len + 1);
    memcpy(text, GRPC_SLICE_START_PTR(slice), len);
    text[len] = '\0';
    return text;
}

static const char *value_of(struct fields *fields, const grpc_metadata *metadata) {
    if (!grpc_is_binary_header(metadata->key))
        return text_of(fields, metadata->value);
    char *text = arena_alloc(fields->arena, BASE64_SIZE(GRPC_SLICE_LENGTH(metadata->value)));
    base64_encode(GRPC_SLICE_START_PTR(metadata->value), GRPC_SLICE_LENGTH(metadata->value), text);
    return text;
}

static void add_all(struct fields *fields, const struct metadata *metadata) {
    for (size_t i = 0; i < metadata->n; i++)
        add(fields, text_of(fields, metadata->items[i].key), value_of(fields, &metadata->items[i]));
}

static void answer_error(struct rpc_call *call, struct fields *fields) {
    char code[12], message[FIELD_MAX];
    snprintf(code, sizeof code, "%d", call->code);
    add(fields, "content-type", "application/grpc");
    add(fields, "grpc-status", code);
    percent_encode(text_of(fields, call->text), message, sizeof message);
    add(fields, "grpc-message", message);
    add_all(fields, &call->trailers);
    add_all(fields, &call->headers);
    edge_taken_answer(&call->taken, &(struct edge_reply){.head = fields->list, .n_head = fields->n});
}

static void answer_ok(struct rpc_call *call, struct fields *head) {
    struct fields tail = {.arena = head->arena};
    if (call->headers.n > 0)
        add(head, "content-type", "application/grpc");
    add_all(head, &call->headers);
    if (call->trailers.n > 0)
        add(&tail, "grpc-status", "0");
    add_all(&tail, &call->trailers);
    edge_taken_answer(&call->taken, &(struct edge_reply){
                                        .message = call->answer,
                                        .len = call->answer_len,
                                        .head = head->list,
                                        .n_head = head->n,
                                        .tail = tail.list,
                                        .n_tail = tail.n,
                                    });
}

void taken_pump(struct rpc_call *call) {
    if (call->life != CALL_ENDED || call->sent == SENT_STATUS)
        return;
    call->sent = SENT_STATUS;
    struct fields fields = {.arena = &call->message_arena}; /* the other is the service's */
    if (call->code == RPC_OK)
        answer_ok(call, &fields);
    else
        answer_error(call, &fields);
}

void taken_deinit(struct rpc_call *call) {
    call->metadata = (grpc_metadata_array){0};
    call->is_taken = false;
}

/* --- the client's address --- */

char *taken_peer(struct rpc_call *call) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "", *text = arena_zalloc(&call->arena, PEER_SIZE);
    if (getpeername(call->taken.fd, (struct sockaddr *)&address, &len) != 0)
        return text;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    if (address.ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, PEER_SIZE, "ipv4:%s:%u", host, ntohs(v4->sin_port));
    } else if (address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
        snprintf(text, PEER_SIZE, "ipv4:%s:%u", host, ntohs(v6->sin6_port));
    } else if (address.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, PEER_SIZE, "ipv6:%%5B%s%%5D:%u", host, ntohs(v6->sin6_port));
    }
    return text;
}
