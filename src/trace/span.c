/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/span.h"

#include <string.h>

void trace_span_fail(struct trace_span *span, const char *error) {
    size_t len = strlen(error);
    if (len >= sizeof span->error) {
        len = sizeof span->error - 1;
        while (len > 0 && ((unsigned char)error[len] & 0xc0) == 0x80) /* within a character of UTF-8 */
            len--;
    }
    memcpy(span->error, error, len);
    span->error[len] = '\0';
    span->is_error = true;
}
