/* SPDX-License-Identifier: Apache-2.0 */
/* The files of console/web, which are part of the program (embed_web.cmake). */
#pragma once

#include <stddef.h>

struct web_file {
    const char *name; /* of the path below /console/; the page's is "" */
    const char *content_type;
    const unsigned char *bytes;
    size_t len;
};
extern const struct web_file web_files[];
extern const size_t n_web_files;
