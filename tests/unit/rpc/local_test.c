/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "toy.h"

/* What the server's `allow` has seen of the last call. */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static char seen_peer[100], seen_token[100];

static bool look(void *arg, struct rpc_call *call, const char *service, const char *method) {
    (void)arg, (void)service, (void)method;
    size_t len;
    const char *value = rpc_call_metadata(call, "authorization", &len);
    pthread_mutex_lock(&seen_lock);
    snprintf(seen_peer, sizeof seen_peer, "%s", rpc_call_peer(call));
    snprintf(seen_token, sizeof seen_token, "%.*s", value ? (int)len : 0, value ? value : "");
    pthread_mutex_unlock(&seen_lock);
    return true;
}

/* `peer`: its beginning. */
static void expect_seen(const char *peer, const char *token) {
    pthread_mutex_lock(&seen_lock);
    cr_expect_eq(strncmp(seen_peer, peer, strlen(peer)), 0, "%s", seen_peer);
    cr_expect_str_eq(seen_token, token);
    pthread_mutex_unlock(&seen_lock);
}

static struct toy *toy_that_looks(void) {
    static struct toy room;
    struct rpc_server_options options = toy_options(&room);
    options.allow = look;
    return toy_new(&options);
}

struct answer {
    struct rpc_client_call call; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
    int code;
};

static void ignore(const ProtobufCMessage *message, void *arg) {
    (void)message, (void)arg;
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct answer *answer = (struct answer *)call;
    pthread_mutex_lock(&answer->lock);
    answer->is_done = true;
    answer->code = status->code;
    pthread_cond_signal(&answer->changed);
    pthread_mutex_unlock(&answer->lock);
}

/* Calls Echo with these metadata. */
static int call_with(struct rpc_channel *channel, const struct rpc_metadatum *metadata, size_t n) {
    ProtobufCService *stub = rpc_channel_service(channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    struct answer answer = {
        .call = {.timeout_ms = TOY_WAIT_MS, .done = on_done, .metadata = metadata, .n_metadata = n}};
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    pthread_mutex_init(&answer.lock, NULL);
    pthread_cond_init(&answer.changed, NULL);
    stub->invoke(stub, TOY_ECHO, &note.base, ignore, &answer.call);
    pthread_mutex_lock(&answer.lock);
    while (!answer.is_done)
        pthread_cond_wait(&answer.changed, &answer.lock);
    pthread_mutex_unlock(&answer.lock);
    return answer.code;
}

#define PEER "ipv4:192.0.2.7:80"

/* The metadata of a call that names its peer. */
static void say(const struct toy *toy, struct rpc_metadatum ret[static 2], char room[static RPC_LOCAL_PEER_SIZE]) {
    rpc_local_peer(toy->server, PEER, room);
    ret[0] = (struct rpc_metadatum){RPC_LOCAL_PEER, room, strlen(room)};
    ret[1] = (struct rpc_metadatum){"authorization", "Bearer x", sizeof "Bearer x" - 1};
}

Test(local, calls_come_with_their_token_and_the_peer_that_they_name) {
    struct toy *toy = toy_that_looks();
    struct rpc_channel *channel;
    struct rpc_metadatum said[2];
    char room[RPC_LOCAL_PEER_SIZE];
    struct err err = {0};
    cr_assert(rpc_channel_new_local(toy->server, &channel, &err), "%s", err.text);
    say(toy, said, room);
    cr_expect_eq(call_with(channel, said, 2), RPC_OK);
    expect_seen(PEER, "Bearer x");
    cr_expect_eq(call_with(channel, NULL, 0), RPC_OK);
    expect_seen("", "");
    rpc_channel_free(channel);
    toy_free(toy);
}

Test(local, a_client_from_elsewhere_cannot_name_another_peer) {
    static const char *const guesses[] = {PEER, "", " ", "00000000000000000000000000000000 " PEER};
    struct toy *toy = toy_that_looks();
    struct rpc_metadatum said[2];
    char room[RPC_LOCAL_PEER_SIZE];
    for (size_t i = 0; i < sizeof guesses / sizeof guesses[0]; i++) {
        cr_expect_eq(
            call_with(toy->channel, &(struct rpc_metadatum){RPC_LOCAL_PEER, guesses[i], strlen(guesses[i])}, 1),
            RPC_OK);
        expect_seen("ipv4:127.0.0.1:", "");
    }
    say(toy, said, room);
    room[0] ^= 1;
    cr_expect_eq(call_with(toy->channel, said, 1), RPC_OK);
    expect_seen("ipv4:127.0.0.1:", "");
    toy_free(toy);
}

Test(local, many_calls_at_a_time_are_answered) {
    struct toy *toy = toy_new(NULL);
    struct rpc_channel *channel;
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    cr_assert(rpc_channel_new_local(toy->server, &channel, NULL));
    ProtobufCService *stub = rpc_channel_service(channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    note.number = 1000;
    cr_expect(rpc_client_call_wait(stub, TOY_LIST, &note.base, TOY_WAIT_MS, NULL, NULL));
    rpc_channel_free(channel);
    toy_free(toy);
}

Test(local, a_connection_that_reached_its_age_is_not_replaced) {
    static struct toy room;
    struct rpc_server_options options = toy_options(&room);
    options.max_connection_age_ms = 1;
    struct toy *toy = toy_new(&options);
    struct rpc_channel *channel;
    int code;
    cr_assert(rpc_channel_new_local(toy->server, &channel, NULL));
    while ((code = call_with(channel, NULL, 0)) == RPC_OK)
        ;
    cr_expect_eq(code, RPC_UNAVAILABLE);
    rpc_channel_free(channel);
    toy_free(toy);
}
