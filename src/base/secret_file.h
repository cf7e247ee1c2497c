/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a secret from a file, for settings of the form file:PATH. Any thread. */
#pragma once

#include <stdbool.h>

/* Returns the file's text without the line breaks at its end, which the caller frees. Returns NULL if there is no such
 * text; *ret_why then says why, e.g. "is empty". It never repeats the text, and is valid until the thread's next call.
 * *ret_may_come says whether the text may be there later: the file can't be opened, or is empty. It may be NULL. */
char *secret_file_read(const char *path, const char **ret_why, bool *ret_may_come);
