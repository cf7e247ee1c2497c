/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define MAX_BYTES (64 * 1024)

char *secret_file_read(const char *path, const char **ret_why, bool *ret_may_come) {
    bool ignored;
    bool *may_come = ret_may_come ? ret_may_come : &ignored;
    static _Thread_local char not_opened[120];
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(not_opened, sizeof not_opened, "can't be opened: %s", strerror(errno));
        *ret_why = not_opened;
        *may_come = true;
        return NULL;
    }
    char *text = memory_new(1, MAX_BYTES + 1);
    size_t len = fread(text, 1, MAX_BYTES, file);
    bool is_empty = strspn(text, "\r\n") == len;
    const char *why = ferror(file)          ? "can't be read"
                      : len == MAX_BYTES    ? "is longer than 64 KiB"
                      : strlen(text) != len ? "has a NUL byte"
                      : is_empty            ? "is empty"
                                            : NULL;
    fclose(file);
    if (why) {
        *may_come = is_empty;
        free(text);
        *ret_why = why;
        return NULL;
    }
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = 0;
    return text;
}
