/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/encode.h"

#include <openssl/evp.h>
#include <stdio.h>

bool percent_encode(const char *text, char *room, size_t size) {
    size_t used = 0;
    for (; *text && used + sizeof "%00" <= size; text++) {
        bool is_plain = *text >= ' ' && *text <= '~' && *text != '%';
        used += (size_t)snprintf(room + used, size - used, is_plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
    room[used] = '\0';
    return !*text;
}

void base64_encode(const uint8_t *bytes, size_t len, char *room) {
    int n = EVP_EncodeBlock((unsigned char *)room, bytes, (int)len);
    while (n > 0 && room[n - 1] == '=')
        room[--n] = '\0';
}
