/* SPDX-License-Identifier: Apache-2.0 */
/* A name and a value, for a library whose settings are strings. */
#pragma once

struct property {
    char *name, *value;
};
