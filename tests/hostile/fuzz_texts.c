/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own: the bridge and the flow both have a struct bad_fields. */
#include <stdlib.h>

#include "api/page.h"
#include "fuzz_message.h"
#include "model/event.h"

void fuzz_page(int32_t page_size, const char *page_token) {
    struct bad_fields bad = {0};
    int32_t size = 0;
    int64_t after = 0;
    page_read(&bad, page_size, page_token, &size, &after);
    if (bad.n == 0 && (size < 1 || size > PAGE_SIZE_MAX || after < 0))
        abort();
}

void fuzz_traceparent(const char *value, size_t len) {
    (void)traceparent_is_fine(value, len);
}
