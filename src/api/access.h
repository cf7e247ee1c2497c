/* Who may call what. A caller proves who it is by a bearer token or a client certificate; each stands for roles; one
 * table (access.c) says which role may call which method. Without any role set, everybody may do everything: couponsd
 * then listens on loopback only, unless told otherwise. With one, who is not named may do nothing but ask for health.
 *
 * Tokens: a file with a line for each, "ROLES SHA256 [user=ID]": roles separated by commas (caller, admin, observer),
 * the SHA-256 of the token in hex, and for a caller that is one user, whose requests it may make. # begins a comment.
 * It is read again within a second of a change; one that can't be used is told of in the log and changes nothing. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"
#include "rpc/server.h"

struct access;
/* Fails where the file of tokens can't be used. `config` must outlive it. */
bool access_new(const struct config *config, struct access **ret_access, struct err *err);
void access_free(struct access *access);
/* The `allow` of rpc_server_options; `arg` is the access. Sets the call's caller and subject. */
bool access_allow(void *arg, struct rpc_call *call, const char *service, const char *method);
