/* SPDX-License-Identifier: Apache-2.0 */
#include "api/page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void page_read(struct rpc_bad_fields *bad, int32_t page_size, const char *page_token, int32_t *ret_size,
               int64_t *ret_after) {
    bad_fields_check(bad, page_size >= 0, "page_size", "must not be negative; 0 means 100, at most 1000 are returned");
    *ret_size = page_size == 0 ? PAGE_SIZE_DEFAULT : page_size > PAGE_SIZE_MAX ? PAGE_SIZE_MAX : page_size;
    *ret_after = 0;
    if (*page_token) {
        char *end;
        errno = 0;
        long long after = strtoll(page_token, &end, 10);
        bad_fields_check(bad, !errno && !*end && *page_token >= '0' && *page_token <= '9' && after > 0, "page_token",
                         "must be next_page_token of the previous page, or empty for the first page");
        *ret_after = after;
    }
}

char *page_token(char token[static PAGE_TOKEN_MAX], int64_t last_id, _Bool more) {
    snprintf(token, PAGE_TOKEN_MAX, "%" PRId64, last_id);
    if (!more)
        *token = 0;
    return token;
}
