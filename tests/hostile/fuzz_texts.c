/* SPDX-License-Identifier: Apache-2.0 */
/* Texts from clients that the services parse: a page token and a traceparent. */
#include <stdlib.h>

#include "api/page.h"
#include "fuzz_message.h"
#include "model/event.h"

void fuzz_page(int32_t page_size, const char *page_token) {
    struct rpc_bad_fields bad = {0};
    int32_t size = 0;
    int64_t after = 0;
    page_read(&bad, page_size, page_token, &size, &after);
    if (bad.n == 0 && (size < 1 || size > PAGE_SIZE_MAX || after < 0))
        abort(); /* the fuzzer takes an abort as a finding */
}

void fuzz_traceparent(const char *value, size_t len) {
    (void)traceparent_is_fine(value, len);
}
