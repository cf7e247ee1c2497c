/* SPDX-License-Identifier: Apache-2.0 */
/* Prints completion scripts for shells, made from the tables of verbs and options. The scripts only know words; they
 * never call couponsd. */
#include <stdio.h>
#include <string.h>

#include "completion.h"

/* The first line of a text. */
static int first_line(const char *text) {
    return (int)strcspn(text, "\n");
}

static bool is_file(const struct option_spec *option) {
    return option->value && strcmp(option->value, "FILE") == 0;
}

/* Prints `len` bytes of a text so that a shell reads it between single quotes. A backslash goes before each character
 * of `special`. */
static void print_quoted(const char *text, int len, const char *special, bool is_fish) {
    putchar('\'');
    for (int i = 0; i < len; i++) {
        if (strchr(special, text[i]))
            printf("\\%c", text[i]);
        else if (text[i] == '\'')
            fputs(is_fish ? "\\'" : "'\\''", stdout);
        else
            putchar(text[i]);
    }
    putchar('\'');
}

/* --- bash --- */

static void print_bash_words(const struct option_spec *options) {
    for (; options && options->name; options++)
        printf(" --%s", options->name);
}

/* A pattern of the options that take a value: files, or others. */
static void print_bash_valued(const struct option_spec *options, bool files) {
    for (; options && options->name; options++)
        if (options->value && is_file(options) == files)
            printf("|--%s", options->name);
}

static void print_bash_all_valued(const struct verb *verbs, size_t n, bool files) {
    fputs("--none", stdout);
    print_bash_valued(global_options, files);
    for (size_t i = 0; i < n; i++)
        print_bash_valued(verbs[i].options, files);
}

void completion_print_bash(const struct verb *verbs, size_t n) {
    puts("# bash completion for couponctl\n"
         "_couponctl() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= words= options= i\n"
         "  COMPREPLY=()\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case ${COMP_WORDS[i]} in");
    fputs("      ", stdout);
    print_bash_all_valued(verbs, n, true);
    putchar('|');
    print_bash_all_valued(verbs, n, false);
    puts(") ((i++)) ;;\n"
         "      -*) ;;\n"
         "      *) verb=${COMP_WORDS[i]}; break ;;\n"
         "    esac\n"
         "  done\n"
         "  case $before in");
    fputs("    ", stdout);
    print_bash_all_valued(verbs, n, true);
    fputs(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    ", stdout);
    print_bash_all_valued(verbs, n, false);
    puts(") return ;;\n"
         "  esac\n"
         "  case $verb in");
    fputs("    '') words='", stdout);
    for (size_t i = 0; i < n; i++)
        printf("%s ", verbs[i].name);
    puts("' ;;");
    for (size_t i = 0; i < n; i++) {
        printf("    %s) words='%s' options='", verbs[i].name, verbs[i].words ? verbs[i].words : "");
        print_bash_words(verbs[i].options);
        puts("' ;;");
    }
    fputs("  esac\n  [[ $word == -* ]] && words=$options'", stdout);
    print_bash_words(global_options);
    puts("'\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -F _couponctl couponctl");
}

/* --- zsh --- */

static void print_zsh_options(const struct option_spec *options) {
    for (; options && options->name; options++) {
        char text[300];
        snprintf(text, sizeof text, "--%s%s[%.*s]%s%s%s", options->name, options->value ? "=" : "",
                 first_line(options->text), options->text, options->value ? ":" : "",
                 options->value ? options->value : "",
                 is_file(options) ? ":_files"
                 : options->value ? ": "
                                  : "");
        /* Colons are special in zsh's specifications, except those that snprintf has put behind the bracket. */
        char *end = strrchr(text, ']');
        putchar(' ');
        putchar('\'');
        for (const char *at = text; *at; at++) {
            bool is_inner = at < end && at > strchr(text, '[');
            if (*at == '\'')
                fputs("'\\''", stdout);
            else if (is_inner && (*at == ':' || *at == '[' || *at == ']'))
                printf("\\%c", *at);
            else if (at > end && *at == ':' && at[1] != '_' && at[1] != ' ' && at > end + 1)
                fputs("\\:", stdout);
            else
                putchar(*at);
        }
        putchar('\'');
    }
}

void completion_print_zsh(const struct verb *verbs, size_t n) {
    puts("#compdef couponctl\n"
         "_couponctl() {\n"
         "  local context state line\n"
         "  local -a verbs words_of\n"
         "  verbs=(");
    for (size_t i = 0; i < n; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s:%.*s", verbs[i].name, first_line(verbs[i].text), verbs[i].text);
        fputs("    ", stdout);
        print_quoted(text, (int)strlen(text), "", false);
        putchar('\n');
    }
    fputs("  )\n  _arguments -C", stdout);
    print_zsh_options(global_options);
    puts(" '1: :->verb' '*:: :->rest'\n"
         "  case $state in\n"
         "    verb) _describe verb verbs ;;\n"
         "    rest)\n"
         "      case $words[1] in");
    for (size_t i = 0; i < n; i++) {
        printf("        %s) _arguments", verbs[i].name);
        print_zsh_options(global_options);
        print_zsh_options(verbs[i].options);
        printf(verbs[i].words ? " '1:word:(%s)' '*: :' ;;\n" : " '*: :' ;;\n", verbs[i].words);
    }
    puts("      esac ;;\n"
         "  esac\n"
         "}\n"
         "if [[ $funcstack[1] == _couponctl ]]; then _couponctl \"$@\"; else compdef _couponctl couponctl; fi");
}

/* --- fish --- */

static void print_fish_options(const struct option_spec *options, const char *verb) {
    for (; options && options->name; options++) {
        fputs("complete -c couponctl", stdout);
        if (verb)
            printf(" -n '__fish_seen_subcommand_from %s'", verb);
        printf(" -l %s%s -d ", options->name, is_file(options) ? " -r -F" : options->value ? " -x" : "");
        print_quoted(options->text, first_line(options->text), "\\", true);
        putchar('\n');
    }
}

void completion_print_fish(const struct verb *verbs, size_t n) {
    puts("# fish completion for couponctl\n"
         "complete -c couponctl -f");
    print_fish_options(global_options, NULL);
    for (size_t i = 0; i < n; i++) {
        printf("complete -c couponctl -n __fish_use_subcommand -a %s -d ", verbs[i].name);
        print_quoted(verbs[i].text, first_line(verbs[i].text), "\\", true);
        putchar('\n');
        if (verbs[i].words)
            printf("complete -c couponctl -n '__fish_seen_subcommand_from %s' -a '%s'\n", verbs[i].name,
                   verbs[i].words);
        print_fish_options(verbs[i].options, verbs[i].name);
    }
}
