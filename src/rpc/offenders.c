/* Addresses whose connections were cut off lately: who comes back gets less patience, and soon none for a while.
 *
 * A table of fixed size; an address that meets another in its place takes it over. Any thread. */
#include <netinet/in.h>
#include <string.h>

#include "rpc/internal.h"

#define PLACES       1024
#define FORGET_MS    2000 /* an offence is forgotten after that time without another */
#define REMEMBER_MAX 8    /* no more than so many are remembered */

struct offender {
    uint64_t key;
    int n;
    int64_t last_ms;
};

static struct offender offenders[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mix(uint64_t x) { /* splitmix64's */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t offenders_key(const struct sockaddr *address, socklen_t len) {
    uint64_t network = 0;
    if (address && address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        network = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
    } else if (address && address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(ip);
        memcpy(&network, ip->s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 8);
    }
    return network ? mix(network) : 0;
}

/* Lock held. */
static int remembered(const struct offender *offender, int64_t now_ms) {
    int64_t n = offender->n - (now_ms - offender->last_ms) / FORGET_MS;
    return n > 0 ? (int)n : 0;
}

void offenders_add(uint64_t key, int64_t now_ms) {
    if (key == 0)
        return;
    struct offender *offender = &offenders[key % PLACES];
    pthread_mutex_lock(&lock);
    int n = offender->key == key ? remembered(offender, now_ms) : 0;
    *offender = (struct offender){.key = key, .n = n < REMEMBER_MAX ? n + 1 : n, .last_ms = now_ms};
    pthread_mutex_unlock(&lock);
}

int offenders_find(uint64_t key, int64_t now_ms) {
    struct offender *offender = &offenders[key % PLACES];
    pthread_mutex_lock(&lock);
    int n = key != 0 && offender->key == key ? remembered(offender, now_ms) : 0;
    pthread_mutex_unlock(&lock);
    return n;
}
