/* SPDX-License-Identifier: Apache-2.0 */
/* Access control. A caller proves its identity by a bearer token or a client certificate. Each identity has roles, and
 * the table of methods (api/methods.h) says which roles may call which method. If no role is configured, every caller
 * may call every method; couponsd then listens on loopback only, unless a setting says otherwise. If a role is
 * configured, unknown callers may only ask for health.
 *
 * The file of tokens has a line "ROLES SHA256 [user=ID]" for each token: roles separated by commas (caller, admin,
 * observer), the SHA-256 of the token in hex, and, for a caller that acts for one user, the id of that user. #
 * begins a comment. couponsd reads the file again within a second of a change. It logs a file that it can't use, and
 * keeps the previous tokens. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"
#include "rpc/server.h"

struct access;
/* Fails if the file of tokens can't be used. `config` must outlive the result. */
bool access_new(const struct config *config, struct access **ret_access, struct err *err);
void access_free(struct access *access);
/* The `allow` of rpc_server_options; `arg` is the struct access. Sets the call's caller and subject. Any thread. */
bool access_allow(void *arg, struct rpc_call *call, const char *service, const char *method);
/* The same for a caller that has nothing but an authorization header; NULL: not even that. Any thread. */
enum access_verdict { ACCESS_ALLOWED, ACCESS_UNKNOWN_CALLER, ACCESS_DENIED };
enum access_verdict access_judge(struct access *access, const char *authorization, const char *service,
                                 const char *method);
/* Whether every caller may call every method, since no role is configured. */
bool access_is_open(const struct access *access);
/* Whether the call is surely allowed by its authorization header, since it has nothing else that could prove an
 * identity. Sets its caller. *ret_subject: as access_allow sets it. Any thread. */
bool access_allows_early(struct access *access, struct rpc_early_call *call, const char *service, const char *method,
                         int64_t *ret_subject);
