/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the addresses that clients come from. It remembers of each:
 *
 * - Its offences: how many of its connections were cut off lately. A client with offences is cut off sooner, and after
 *   some more it is not accepted for a while.
 * - How many of its connections wait for their first call, and how many came and went without one. A connection costs
 *   the server more than a call, so an address that only connects has to do it slowly. Connections with calls are not
 *   limited.
 *
 * The table has a fixed size. A new address takes over the slot of another one with the same hash. Any thread. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "edge/addresses.h"

#define SLOTS        1024
#define FORGET_MS    2000 /* without a new offence, one is forgotten each time this has passed */
#define REMEMBER_MAX 8    /* the most offences that are remembered */

/* Connections that end without a call: how many at once, and then in each second, as shares of waiting_max. */
#define WASTED_SHARE       2
#define WASTED_PER_S_SHARE 10

struct address_record {
    uint64_t key;
    int n_offences, n_waiting;
    int64_t offended_ms;
    double n_wasted; /* connections that ended without a call, as of wasted_ms; falls with time */
    int64_t wasted_ms;
};

static atomic_int waiting_max; /* connections at a time that wait for their first call */
static struct address_record records[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mix(uint64_t x) { /* the last steps of splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void addresses_init(int new_waiting_max) {
    atomic_store(&waiting_max, new_waiting_max);
}

uint64_t address_key(const struct sockaddr *address, socklen_t len) {
    uint64_t network = 0;
    if (atomic_load_explicit(&waiting_max, memory_order_relaxed) == 0)
        return 0;
    if (address && address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        network = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
    } else if (address && address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(ip);
        memcpy(&network, ip->s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 8);
    }
    return network ? mix(network) : 0;
}

/* The record of an address. NULL: another address has the slot, and `take` is false. Lock held. */
static struct address_record *record_of(uint64_t key, bool take) {
    struct address_record *address = &records[key % SLOTS];
    if (address->key != key) {
        if (!take)
            return NULL;
        *address = (struct address_record){.key = key};
    }
    return address;
}

/* Lock held. */
static int offences(const struct address_record *address, int64_t now_ms) {
    int64_t n = address->n_offences - (now_ms - address->offended_ms) / FORGET_MS;
    return n > 0 ? (int)n : 0;
}

/* Lock held. */
static void forget_wasted(struct address_record *address, int64_t now_ms) {
    address->n_wasted -= (double)(now_ms - address->wasted_ms) / 1000 * atomic_load(&waiting_max) / WASTED_PER_S_SHARE;
    if (address->n_wasted < 0)
        address->n_wasted = 0;
    address->wasted_ms = now_ms;
}

void address_offends(uint64_t key, int64_t now_ms) {
    if (key == 0)
        return;
    pthread_mutex_lock(&lock);
    struct address_record *address = record_of(key, true);
    int n = offences(address, now_ms);
    address->n_offences = n < REMEMBER_MAX ? n + 1 : n;
    address->offended_ms = now_ms;
    pthread_mutex_unlock(&lock);
}

int address_offences(uint64_t key, int64_t now_ms) {
    pthread_mutex_lock(&lock);
    const struct address_record *address = key ? record_of(key, false) : NULL;
    int n = address ? offences(address, now_ms) : 0;
    pthread_mutex_unlock(&lock);
    return n;
}

bool address_connects(uint64_t key, int64_t now_ms) {
    if (key == 0)
        return true;
    pthread_mutex_lock(&lock);
    struct address_record *address = record_of(key, true);
    forget_wasted(address, now_ms);
    int max = atomic_load(&waiting_max);
    bool may = address->n_waiting < max && address->n_wasted < (double)max / WASTED_SHARE;
    if (may)
        address->n_waiting++;
    pthread_mutex_unlock(&lock);
    return may;
}

static void end_waiting(uint64_t key, int64_t now_ms, bool is_wasted) {
    pthread_mutex_lock(&lock);
    struct address_record *address = key ? record_of(key, false) : NULL;
    if (address && address->n_waiting > 0) { /* another address may have taken the slot meanwhile */
        address->n_waiting--;
        forget_wasted(address, now_ms);
        address->n_wasted += is_wasted;
    }
    pthread_mutex_unlock(&lock);
}

void address_calls(uint64_t key, int64_t now_ms) {
    end_waiting(key, now_ms, false);
}

void address_leaves(uint64_t key, int64_t now_ms) {
    end_waiting(key, now_ms, true);
}
