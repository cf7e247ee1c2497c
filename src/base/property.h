/* SPDX-License-Identifier: Apache-2.0 */
/* A name with a value, for a library that takes its settings as texts. */
#pragma once

struct property {
    char *name, *value;
};
