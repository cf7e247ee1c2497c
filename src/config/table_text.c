/* SPDX-License-Identifier: Apache-2.0 */
/* Puts a row of the table into words. */
#include <inttypes.h>
#include <stdio.h>

#include "config/table.h"

/* "a, b or c" */
static void list_choices(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]) {
    size_t len = 0;
    for (size_t i = 0; setting->choices[i]; i++) {
        const char *before = i == 0 ? "" : setting->choices[i + 1] ? ", " : " or ";
        len += (size_t)snprintf(text + len, SETTING_EXPECTATION_SIZE - len, "%s%s", before, setting->choices[i]);
    }
}

const char *setting_expectation(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]) {
    switch (setting->type) {
    case TYPE_INT:
        snprintf(text, SETTING_EXPECTATION_SIZE, "%" PRId64 " to %" PRId64 "%s%s", setting->min, setting->max,
                 setting->unit ? " " : "", setting->unit ? setting->unit : "");
        break;
    case TYPE_RATIO:
        snprintf(text, SETTING_EXPECTATION_SIZE, "0 to 1, e.g. 0.01");
        break;
    case TYPE_BOOL:
        snprintf(text, SETTING_EXPECTATION_SIZE, "true or false");
        break;
    case TYPE_PATH:
        snprintf(text, SETTING_EXPECTATION_SIZE, "a file's path, or nothing");
        break;
    case TYPE_TEXT:
        snprintf(text, SETTING_EXPECTATION_SIZE, "text of %" PRId64 " to %" PRId64 " bytes", setting->min,
                 setting->max);
        break;
    case TYPE_LISTEN:
        snprintf(text, SETTING_EXPECTATION_SIZE, "HOST:PORT (IPv6 in brackets)");
        break;
    case TYPE_REDIS_URL:
        snprintf(text, SETTING_EXPECTATION_SIZE, "redis://[[USER]:PW@]HOST[:PORT][/DB]");
        break;
    case TYPE_TOPIC_PREFIX:
        snprintf(text, SETTING_EXPECTATION_SIZE, "up to %" PRId64 " of a-z A-Z 0-9 . _ -", setting->max);
        break;
    case TYPE_CHOICE:
        list_choices(setting, text);
        break;
    }
    return text;
}

const char *setting_change_text(const struct setting *setting) {
    static const char *const texts[] = {
        [CHANGE_RESTART] = "at a restart",
        [CHANGE_FILE] = "when the file changes",
        [CHANGE_CONNECTION] = "at a restart; the file is read for each new connection",
        [CHANGE_SECRET] = "at a restart; as `file:PATH`, for each new connection",
        [CHANGE_NEVER] = "never; the first start on a database fixes it",
        [CHANGE_MIGRATION] = "never; the first start fixes it, and a migration changes it",
    };
    return texts[setting->change];
}
