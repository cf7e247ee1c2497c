/* SPDX-License-Identifier: Apache-2.0 */
/* Paging by id: the token is the last id of the page before, in decimal. */
#pragma once

#include <stdint.h>

#include "api/answer.h"

#define PAGE_SIZE_DEFAULT 100
#define PAGE_SIZE_MAX     1000
#define PAGE_TOKEN_MAX    24

/* Adds to *bad what is wrong; else sets the size (a larger one is cut to the maximum) and the id to go on after. */
void page_read(struct rpc_bad_fields *bad, int32_t page_size, const char *page_token, int32_t *ret_size,
               int64_t *ret_after);
/* The token of the page after `last_id`, or "" when there is no more; written to `token`, which is returned. */
char *page_token(char token[static PAGE_TOKEN_MAX], int64_t last_id, _Bool more);
