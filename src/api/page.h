/* SPDX-License-Identifier: Apache-2.0 */
/* Paging by id. A page token is the last id of the previous page, in decimal. */
#pragma once

#include <stdint.h>

#include "api/answer.h"

#define PAGE_SIZE_DEFAULT 100
#define PAGE_SIZE_MAX     1000
#define PAGE_TOKEN_MAX    24

/* Reads the fields of a request. *ret_size: the page size, at most PAGE_SIZE_MAX; *ret_after: return items with a
 * higher id. Adds bad fields to *bad. */
void page_read(struct rpc_bad_fields *bad, int32_t page_size, const char *page_token, int32_t *ret_size,
               int64_t *ret_after);
/* Writes the token of the page after `last_id`, or "" if no page follows. Returns `token`. */
char *page_token(char token[static PAGE_TOKEN_MAX], int64_t last_id, _Bool more);
