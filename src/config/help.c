/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the settings for --help, docs/reference/settings.md, the example file, and couponsd.ini(5). */
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/table.h"

#define SECTION_SIZE 32

static void print_row(FILE *out, const struct setting *setting, const int widths[static 2]) {
    char range[SETTING_EXPECTATION_SIZE];
    const char *preset = setting->preset[0] ? setting->preset : "(empty)";
    fprintf(out, "  %-*s  %-*s  %s\n", widths[0], setting->key, widths[1], setting_expectation(setting, range), preset);
    fprintf(out, "  %-*s  %s\n", widths[0], "", setting->text);
    if (setting->change != CHANGE_RESTART)
        fprintf(out, "  %-*s  (a change takes effect %s)\n", widths[0], "", setting_change_text(setting));
}

static void print_text(FILE *out) {
    int widths[2] = {0};
    for (size_t i = 0; i < n_settings; i++) {
        char range[SETTING_EXPECTATION_SIZE];
        int key_len = (int)strlen(settings[i].key);
        int range_len = (int)strlen(setting_expectation(&settings[i], range));
        widths[0] = key_len > widths[0] ? key_len : widths[0];
        widths[1] = range_len > widths[1] ? range_len : widths[1];
    }
    fprintf(out, "  %-*s  %-*s  %s\n", widths[0], "SETTING", widths[1], "RANGE", "DEFAULT");
    for (size_t i = 0; i < n_settings; i++)
        print_row(out, &settings[i], widths);
}

static void print_markdown(FILE *out) {
    fputs("| Setting | Range | Default | A change takes effect | Meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < n_settings; i++) {
        char range[SETTING_EXPECTATION_SIZE];
        const struct setting *setting = &settings[i];
        /* A code span can't be empty. */
        const char *quote = setting->preset[0] ? "`" : "";
        fprintf(out, "| `%s` | %s | %s%s%s | %s | %s |\n", setting->key, setting_expectation(setting, range), quote,
                setting->preset[0] ? setting->preset : "(empty)", quote, setting_change_text(setting), setting->text);
    }
}

/* Prints each setting with its default, commented out. */
static void print_ini(FILE *out) {
    char range[SETTING_EXPECTATION_SIZE], section[SECTION_SIZE] = "";
    fputs(
        "# The settings of couponsd. Each line that is commented out shows a default. To check this file, run\n"
        "# couponsd --check-config --config FILE. A value of the form file:PATH is read from that file; use this for\n"
        "# passwords. Any other NAME in [kafka] is passed to librdkafka as a property.\n",
        out);
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *setting = &settings[i];
        const char *name = strchr(setting->key, '.') + 1;
        int len = (int)(name - 1 - setting->key);
        if (strncmp(section, setting->key, (size_t)len) != 0 || section[len]) {
            snprintf(section, sizeof section, "%.*s", len, setting->key);
            fprintf(out, "\n[%s]\n", section);
        }
        fprintf(out, "# %s\n#   %s\n#%s = %s\n", setting->text, setting_expectation(setting, range), name,
                setting->preset);
    }
}

/* Prints text for roff. Of roff's special characters only the hyphen occurs; unescaped, it would become a dash. */
static void print_roff_text(FILE *out, const char *text) {
    for (; *text; text++)
        fprintf(out, *text == '-' ? "\\-" : "%c", *text);
}

/* Prints the settings as the items of a list in mdoc. */
static void print_man(FILE *out) {
    char range[SETTING_EXPECTATION_SIZE];
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *setting = &settings[i];
        fprintf(out, ".It Cm %s\n", setting->key);
        print_roff_text(out, setting->text);
        fputs(".\n.br\nRange: ", out);
        print_roff_text(out, setting_expectation(setting, range));
        fputs(".\nDefault: ", out);
        if (*setting->preset) {
            fputs("\\(dq", out);
            print_roff_text(out, setting->preset);
            fputs("\\(dq.\n", out);
        } else {
            fputs("empty.\n", out);
        }
        if (setting->change != CHANGE_RESTART) {
            fputs("A change takes effect ", out);
            print_roff_text(out, setting_change_text(setting));
            fputs(".\n", out);
        }
    }
}

void config_help(FILE *out, enum config_format format) {
    void (*const print[])(FILE *) = {print_text, print_markdown, print_ini, print_man};
    print[format](out);
}

bool config_format_named(const char *name, enum config_format *ret_format) {
    const char *const names[] = {"text", "markdown", "ini", "man"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) {
            *ret_format = (enum config_format)i;
            return true;
        }
    return false;
}
