/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_names.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the fields below */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fake_name {
    const char *name, *address;
    bool is_held;
    int begun, ended;
} names[NAMES_MAX];

typedef int resolve(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret);

static int real(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret) {
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    resolve *function;
    memcpy(&function, &symbol, sizeof function);
    return function(host, port, hints, ret);
}

/* Returns the name's entry, or NULL. The caller holds the lock. */
static struct fake_name *find(const char *name) {
    for (int i = 0; i < NAMES_MAX && names[i].name; i++)
        if (name && strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static struct fake_name *find_or_add(const char *name) {
    struct fake_name *one = find(name);
    for (int i = 0; i < NAMES_MAX && !one; i++)
        if (!names[i].name)
            one = &names[i];
    if (!one)
        abort();
    one->name = name;
    return one;
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret) {
    pthread_mutex_lock(&lock);
    struct fake_name *one = hints->ai_flags & AI_NUMERICHOST ? NULL : find(host);
    if (one) {
        one->begun++;
        while (one->is_held)
            pthread_cond_wait(&changed, &lock);
        host = one->address;
        one->ended++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return host ? real(host, port, hints, ret) : EAI_NONAME;
}

void fake_names_set(const char *name, const char *address) {
    pthread_mutex_lock(&lock);
    find_or_add(name)->address = address;
    pthread_mutex_unlock(&lock);
}

void fake_names_hold(const char *name) {
    pthread_mutex_lock(&lock);
    find_or_add(name)->is_held = true;
    pthread_mutex_unlock(&lock);
}

void fake_names_release(void) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < NAMES_MAX; i++)
        names[i].is_held = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int fake_names_count(const char *name) {
    pthread_mutex_lock(&lock);
    int count = find_or_add(name)->begun;
    pthread_mutex_unlock(&lock);
    return count;
}

void fake_names_wait(const char *name, int n) {
    pthread_mutex_lock(&lock);
    while (find_or_add(name)->ended < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
