/* SPDX-License-Identifier: Apache-2.0 */
#include "base/decimal.h"

#include <string.h>

size_t decimal_write(int64_t value, char text[static DECIMAL_MAX]) {
    char digits[DECIMAL_MAX], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    size_t len = (size_t)(digits + sizeof digits - at);
    memcpy(text, at, len);
    return len;
}
