/* SPDX-License-Identifier: Apache-2.0 */
/* Access control; see access.h. access_allow runs on the pollers' threads. The lock guards the table of tokens,
 * which calls read and a changed file replaces. */
#include "api/access.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "api/answer.h"
#include "api/audit_log.h"
#include "api/services.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define LOOK_AGAIN_US   US_PER_S
#define HASH_BYTES      32
#define NAME_HASH_BYTES 6 /* of a hash, in the name of a caller */
#define TOKEN_MAX_BYTES 4096
#define BEARER          "bearer "

/* The bridge's services. Any role may ask for reflection, and health checks need no credentials. */
static const char *const reflection_services[] = {
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
};
#define PUBLIC_SERVICE "grpc.health.v1.Health"

struct token {
    unsigned char hash[HASH_BYTES];
    unsigned roles;
    int64_t subject; /* the user that the caller acts for; 0: any user */
};

struct tokens {
    struct token *items; /* sorted by hash */
    size_t n;
};

struct access {
    const struct config *config;
    EVP_MD *sha256;
    bool is_open; /* no role is set */
    _Atomic int64_t looked_us;
    struct timespec changed; /* when the file changed; belongs to the thread that look_again admits */
    pthread_rwlock_t lock;   /* guards `tokens` */
    struct tokens tokens;
};

/* --- the file of tokens --- */

static int compare_tokens(const void *a, const void *b) {
    return memcmp(((const struct token *)a)->hash, ((const struct token *)b)->hash, HASH_BYTES);
}

static bool parse_roles(char *text, unsigned *ret_roles) {
    static const struct {
        const char *name;
        unsigned role;
    } names[] = {{"caller", ROLE_CALLER}, {"admin", ROLE_ADMIN}, {"observer", ROLE_OBSERVER}};
    char *rest = NULL;
    unsigned roles = 0;
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        unsigned role = 0;
        for (size_t i = 0; i < 3; i++)
            role |= strcmp(word, names[i].name) == 0 ? names[i].role : 0;
        if (!role)
            return false;
        roles |= role;
    }
    *ret_roles = roles;
    return roles != 0;
}

static int digit_of(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool parse_hash(const char *text, unsigned char ret_hash[static HASH_BYTES]) {
    if (strlen(text) != 2 * (size_t)HASH_BYTES)
        return false;
    for (size_t i = 0; i < HASH_BYTES; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_hash[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool parse_subject(const char *text, int64_t *ret_subject) {
    static const char prefix[] = "user=";
    char *end;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0 || !isdigit((unsigned char)text[sizeof prefix - 1]))
        return false;
    errno = 0;
    *ret_subject = strtoll(text + sizeof prefix - 1, &end, 10);
    return *end == '\0' && errno == 0 && *ret_subject > 0;
}

/* Returns what is wrong with the line, or NULL. Leaves `ret_token->roles` 0 for an empty line. */
static const char *parse_line(char *line, struct token *ret_token) {
    char *rest = NULL;
    line[strcspn(line, "#\r\n")] = '\0';
    char *roles = strtok_r(line, " \t", &rest), *hash = strtok_r(NULL, " \t", &rest);
    char *subject = strtok_r(NULL, " \t", &rest), *more = strtok_r(NULL, " \t", &rest);
    if (!roles)
        return NULL;
    if (!hash || !parse_hash(hash, ret_token->hash))
        return "the second word must be the SHA-256 of the token, in 64 hex digits";
    if (more || (subject && !parse_subject(subject, &ret_token->subject)))
        return "only user=ID may follow the hash";
    if (!parse_roles(roles, &ret_token->roles))
        return "the first word must be caller, admin or observer, or several of these separated by commas";
    if (ret_token->subject && ret_token->roles != ROLE_CALLER)
        return "user=ID is for a caller without other roles";
    return NULL;
}

static bool tokens_read(const char *path, struct tokens *ret_tokens, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "access.tokens: %s can't be opened: %s", path, strerror(errno));
    struct tokens tokens = {0};
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    for (int number = 1; ok && getline(&line, &capacity, file) >= 0; number++) {
        struct token token = {.roles = 0};
        const char *wrong = parse_line(line, &token);
        if (wrong) {
            ok = err_set(err, ERR_INVALID, BACKEND_NONE, "access.tokens: %s:%d: %s", path, number, wrong);
        } else if (token.roles) {
            tokens.items = memory_resize(tokens.items, tokens.n + 1, sizeof *tokens.items);
            tokens.items[tokens.n++] = token;
        }
    }
    if (ok && ferror(file))
        ok = err_set(err, ERR_INVALID, BACKEND_NONE, "access.tokens: %s can't be read", path);
    free(line);
    fclose(file);
    if (!ok) {
        free(tokens.items);
        return false;
    }
    if (tokens.n)
        qsort(tokens.items, tokens.n, sizeof *tokens.items, compare_tokens);
    *ret_tokens = tokens;
    return true;
}

static bool has_tokens_file(const struct access *access) {
    return access->config->access_tokens[0] != '\0';
}

static struct timespec change_of(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 ? found.st_ctim : (struct timespec){0};
}

/* Reads the file again if it has changed. looked_us admits one thread per second. */
static void look_again(struct access *access) {
    int64_t now_us = clock_mono_us(), looked_us = atomic_load(&access->looked_us);
    if (now_us - looked_us < LOOK_AGAIN_US || !atomic_compare_exchange_strong(&access->looked_us, &looked_us, now_us))
        return;
    const char *path = access->config->access_tokens;
    struct timespec changed = change_of(path);
    struct tokens tokens;
    struct err err;
    if (changed.tv_sec == access->changed.tv_sec && changed.tv_nsec == access->changed.tv_nsec)
        return;
    access->changed = changed;
    if (!tokens_read(path, &tokens, &err)) {
        log_error("access.tokens_bad", LOG_ERR(&err), LOG_STR("meanwhile", "the previous tokens stay valid"));
        return;
    }
    pthread_rwlock_wrlock(&access->lock);
    free(access->tokens.items);
    access->tokens = tokens;
    pthread_rwlock_unlock(&access->lock);
    log_info("access.tokens_read", LOG_INT("tokens", tokens.n));
}

bool access_new(const struct config *config, struct access **ret_access, struct err *err) {
    struct access *access = memory_new(1, sizeof *access);
    access->config = config;
    pthread_rwlock_init(&access->lock, NULL);
    access->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    access->is_open = !has_tokens_file(access) && !config->access_callers[0] && !config->access_admins[0] &&
                      !config->access_observers[0];
    if (!access->sha256) {
        access_free(access);
        return err_set(err, ERR_INVALID, BACKEND_NONE, "OpenSSL has no SHA-256, which access.tokens needs");
    }
    access->changed = change_of(config->access_tokens);
    atomic_store(&access->looked_us, clock_mono_us());
    if (has_tokens_file(access) && !tokens_read(config->access_tokens, &access->tokens, err)) {
        access_free(access);
        return false;
    }
    *ret_access = access;
    return true;
}

void access_free(struct access *access) {
    if (!access)
        return;
    EVP_MD_free(access->sha256);
    free(access->tokens.items);
    pthread_rwlock_destroy(&access->lock);
    free(access);
}

/* --- the caller's identity --- */

struct identity {
    unsigned roles;
    int64_t subject;
    bool is_proven;               /* by a token or a certificate, even if it has no roles */
    bool is_wrong;                /* the credentials are invalid */
    uint64_t key;                 /* identifies the caller for the limits per caller; 0: no key */
    char name[AUDIT_CALLER_SIZE]; /* for the audit log; "": unknown */
};

static void take_key(struct identity *identity, const void *bytes, size_t len) {
    uint64_t key = 0;
    memcpy(&key, bytes, len < sizeof key ? len : sizeof key);
    identity->key = key ? key : 1;
}

static void take_name(struct identity *identity, const unsigned char *hash) {
    size_t len = (size_t)snprintf(identity->name, sizeof identity->name, "token:");
    for (int i = 0; i < NAME_HASH_BYTES; i++)
        len += (size_t)snprintf(identity->name + len, sizeof identity->name - len, "%02x", hash[i]);
}

static void look_up_token(struct access *access, const char *text, size_t len, struct identity *identity) {
    struct token wanted;
    unsigned size;
    if (len > TOKEN_MAX_BYTES || !EVP_Digest(text, len, wanted.hash, &size, access->sha256, NULL)) {
        identity->is_wrong = true;
        return;
    }
    pthread_rwlock_rdlock(&access->lock);
    const struct token *found =
        access->tokens.n ? bsearch(&wanted, access->tokens.items, access->tokens.n, sizeof wanted, compare_tokens)
                         : NULL;
    if (found) {
        identity->is_proven = true;
        identity->roles |= found->roles;
        identity->subject = found->subject;
        take_key(identity, found->hash, sizeof found->hash);
        take_name(identity, found->hash);
    } else {
        identity->is_wrong = true;
    }
    pthread_rwlock_unlock(&access->lock);
}

/* `value`: of the authorization header; NULL: there is none. */
static void read_token(struct access *access, const char *value, size_t len, struct identity *identity) {
    const size_t prefix = sizeof BEARER - 1;
    if (!value)
        return;
    if (len > prefix && strncasecmp(value, BEARER, prefix) == 0)
        look_up_token(access, value + prefix, len - prefix, identity);
    else
        identity->is_wrong = true;
}

/* Returns true if `list`, whose names are separated by commas or spaces, has `name`. */
static bool is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t word = strcspn(at, ", ");
        if (word == len && len > 0 && memcmp(at, name, len) == 0)
            return true;
        at += word;
    }
    return false;
}

static void read_names(const struct access *access, struct rpc_call *call, struct identity *identity) {
    const struct config *config = access->config;
    const char *name;
    if (!config->grpc_tls_client_ca[0])
        return;
    for (size_t i = 0; (name = rpc_call_peer_name(call, i)) != NULL; i++) {
        unsigned roles = (is_listed(config->access_callers, name) ? ROLE_CALLER : 0u) |
                         (is_listed(config->access_admins, name) ? ROLE_ADMIN : 0u) |
                         (is_listed(config->access_observers, name) ? ROLE_OBSERVER : 0u);
        identity->is_proven = true;
        identity->roles |= roles;
        if (roles || !identity->name[0])
            snprintf(identity->name, sizeof identity->name, "%s", name);
        if (roles && !identity->key) {
            uint64_t hash = 0;
            for (const char *c = name; *c; c++)
                hash = hash * 31 + (unsigned char)*c;
            take_key(identity, &hash, sizeof hash);
        }
    }
}

/* --- the caller's permissions --- */

static unsigned roles_for(const char *service, const char *method) {
    for (size_t i = 0; i < sizeof reflection_services / sizeof reflection_services[0]; i++)
        if (strcmp(reflection_services[i], service) == 0)
            return ROLE_ANY;
    return api_roles_of(service, method);
}

bool access_allow(void *arg, struct rpc_call *call, const char *service, const char *method) {
    struct access *access = arg;
    struct identity identity = {0};
    if (access->is_open)
        audit_log_begin(call, service, method, "anyone");
    if (access->is_open || strcmp(service, PUBLIC_SERVICE) == 0)
        return true;
    if (has_tokens_file(access)) {
        size_t len;
        const char *value = rpc_call_metadata(call, "authorization", &len);
        look_again(access);
        read_token(access, value, len, &identity);
    }
    read_names(access, call, &identity);
    audit_log_begin(call, service, method, identity.name[0] ? identity.name : "unknown");
    if (identity.is_wrong || !identity.is_proven) {
        answer_unauthenticated(call, identity.is_wrong
                                         ? "the credentials are unknown"
                                         : "credentials are missing: send authorization: Bearer TOKEN, or use a "
                                           "client certificate");
        return false;
    }
    if (identity.key)
        rpc_call_set_caller(call, identity.key);
    /* A caller with any role learns that a method does not exist. */
    unsigned wanted = *service ? roles_for(service, method) : ROLE_ANY;
    if (!(identity.roles & wanted)) {
        answer_reason(call, REASON_PERMISSION, "no role of this caller may call this method");
        return false;
    }
    rpc_call_set_subject(call, identity.subject);
    return true;
}

bool access_allows_early(struct access *access, struct rpc_early_call *call, const char *service, const char *method,
                         int64_t *ret_subject) {
    struct identity identity = {0};
    *ret_subject = 0;
    if (access->is_open)
        return true;
    if (!has_tokens_file(access))
        return false;
    look_again(access);
    read_token(access, call->authorization, call->authorization_len, &identity);
    call->caller = identity.key;
    *ret_subject = identity.subject;
    return identity.is_proven && !identity.is_wrong && (identity.roles & roles_for(service, method));
}

enum access_verdict access_judge(struct access *access, const char *authorization, const char *service,
                                 const char *method) {
    struct identity identity = {0};
    if (access->is_open)
        return ACCESS_ALLOWED;
    if (has_tokens_file(access)) {
        look_again(access);
        read_token(access, authorization, authorization ? strlen(authorization) : 0, &identity);
    }
    if (identity.is_wrong || !identity.is_proven)
        return ACCESS_UNKNOWN_CALLER;
    return identity.roles & roles_for(service, method) ? ACCESS_ALLOWED : ACCESS_DENIED;
}

bool access_is_open(const struct access *access) {
    return access->is_open;
}
