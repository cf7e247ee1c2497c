/* SPDX-License-Identifier: Apache-2.0 */
/* couponctl: the table of verbs, the options of every verb, and main(). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "completion.h"
#include "ctl.h"

const struct option_spec global_options[] = {
    {"server", "HOST:PORT", "address of couponsd (default: $COUPONCTL_SERVER, else 127.0.0.1:50051)"},
    {"tls", NULL, "use TLS, and trust the system's certificate authorities"},
    {"ca", "FILE", "use TLS, and trust the certificate authorities in this PEM file"},
    {"cert", "FILE", "present this client certificate (PEM); needs --key"},
    {"key", "FILE", "private key of the client certificate (PEM)"},
    {"server-name", "NAME", "name in the server's certificate, if it is not HOST"},
    {"token-file", "FILE", "file with a bearer token (default: the token in $COUPONCTL_TOKEN)"},
    {"plaintext-token", NULL, "send the token without TLS to non-loopback addresses, too"},
    {"json", NULL, "print one JSON object per line, for errors too"},
    {"timeout", "MS", "time limit of a call (10000; health: 2000; verify: 65000; watch: none); 0: none"},
    {"help", NULL, "print this help and exit"},
    {"version", NULL, "print the version and exit"},
    {0},
};

static int verb_completion(struct ctl *ctl);
static int verb_help(struct ctl *ctl);

static const struct verb verbs[] = {
    {"create", "", 0, 0, create_options, verb_create, "create a coupon", NULL},
    {"get", "ID", 1, 0, NULL, verb_get, "show a coupon", NULL},
    {"list", "", 0, 0, list_options, verb_list, "list all coupons by id", NULL},
    {"pause", "ID", 1, 0, NULL, verb_pause, "stop giving out tickets; accepted requests are still issued", NULL},
    {"resume", "ID", 1, 0, NULL, verb_resume, "give out tickets again", NULL},
    {"close", "ID", 1, 0, NULL, verb_close, "stop giving out tickets for good; accepted requests are still issued",
     NULL},
    {"add", "ID N", 2, 0, add_options, verb_add, "raise the quantity by N", NULL},
    {"request", "COUPON USER", 2, 0, request_options, verb_request, "request a coupon for a user", NULL},
    {"status", "COUPON USER", 2, 0, NULL, verb_status, "show the state of a request", NULL},
    {"watch", "COUPON USER", 2, 0, NULL, verb_watch, "print each change of a request until it is final", NULL},
    {"coupons", "USER", 1, 0, list_options, verb_coupons, "list the coupons that a user holds", NULL},
    {"health", "", 0, 0, NULL, verb_health, "check whether couponsd serves: exit code 0 if it does, 1 if not", NULL},
    {"bench", "", 0, 0, bench_options, verb_bench,
     "measure: many users request coupons at once, until all accepted requests are issued\n\n"
     "With several servers (--server repeated, or separated by commas), calls go to each in turn. Without --rate,\n"
     "a new call starts when another one ends. SIGINT and SIGTERM end the load early: bench then prints the results\n"
     "so far, and the exit code is 4.",
     NULL},
    {"top", "", 0, 0, top_options, verb_top,
     "show all coupons live: state, what is left, rates\n\n"
     "q ends it, s sorts by another column, arrows and page keys scroll. Without a terminal, it prints one screen and\n"
     "ends, as with --once. NO_COLOR is honored.",
     NULL},
    {"topics", "[ACTION] [WHICH]", 0, 2, topics_options, verb_topics,
     "manage the topics in Kafka\n\n"
     "  topics list                               show all topics: state, partitions, lanes, unread messages\n"
     "  topics migrate --to v2 --partitions 16    publish to another version, lane by lane; --to v1 goes back\n"
     "  topics pause                              pause a migration; topics migrate continues it\n"
     "  topics delete v1                          delete the topics of a version that is drained\n"
     "  topics retire COUPON                      delete the per-coupon topics of a coupon that is closed and drained",
     "list migrate pause delete retire"},
    {"dead-letters", "[ACTION] [WHICH]", 0, 2, dead_letters_options, verb_dead_letters,
     "handle events that were put aside\n\n"
     "  dead-letters list                         show all dead letters: their positions in Kafka, and the reasons\n"
     "  dead-letters show ID                      show a dead letter with its key and value\n"
     "  dead-letters replay ID                    decide again, and send the event again if it can be issued\n"
     "  dead-letters drop ID                      delete a dead letter\n\n"
     "replay and drop also take a range of ids, such as 7-12. You can replay a letter more than once. If replay\n"
     "keeps a letter, the exit code is 1.",
     "list show replay drop"},
    {"verify", "COUPON", 1, 0, verify_options, verb_verify,
     "check a coupon from the ledger to the topics, and print each check\n\n"
     "The exit code is 0 if all checks hold, 4 if one does not hold, and 1 if one was skipped.",
     NULL},
    {"completion", "SHELL", 1, 0, NULL, verb_completion,
     "print a completion script for bash, zsh or fish\n\n"
     "  source <(couponctl completion bash)       in ~/.bashrc; the same with zsh in ~/.zshrc, after compinit\n"
     "  couponctl completion fish | source        in ~/.config/fish/config.fish",
     "bash zsh fish"},
    {"help", "[VERB]", 0, 1, NULL, verb_help, "list the verbs, or the options of a verb", NULL},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static int verb_completion(struct ctl *ctl) {
    const char *shell = ctl->args->operands[0];
    if (strcmp(shell, "bash") == 0)
        completion_print_bash(verbs, VERBS);
    else if (strcmp(shell, "zsh") == 0)
        completion_print_zsh(verbs, VERBS);
    else if (strcmp(shell, "fish") == 0)
        completion_print_fish(verbs, VERBS);
    else
        return args_refuse(ctl->args, "no completion for \"%s\": bash, zsh and fish have one", shell);
    return EXIT_OK;
}

static int verb_help(struct ctl *ctl) {
    const struct args *args = ctl->args;
    if (args->n_operands == 0) {
        help_print(verbs, VERBS);
        return EXIT_OK;
    }
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, args->operands[0]) == 0) {
            help_print_verb(&verbs[i]);
            return EXIT_OK;
        }
    return args_refuse(args, "no verb \"%s\": see couponctl help", args->operands[0]);
}

static int run(const struct args *args) {
    struct ctl ctl = {.args = args, .json = args->json, .timeout_ms = TIMEOUT_MS_DEFAULT};
    if (args_flag(args, "version")) {
        puts("couponctl " COUPONSD_VERSION);
        return EXIT_OK;
    }
    if (args_flag(args, "help")) {
        if (args->verb)
            help_print_verb(args->verb);
        else
            help_print(verbs, VERBS);
        return EXIT_OK;
    }
    if (!args->verb)
        return args_refuse(args, "no verb given: see couponctl help");
    if (args->n_operands < args->verb->n_operands)
        return args_refuse(args, "%s needs more arguments: couponctl %s %s", args->verb->name, args->verb->name,
                           args->verb->operands);
    if (!args_int(args, "timeout", 0, INT64_MAX / US_PER_MS / 2, &ctl.timeout_ms))
        return EXIT_USAGE;
    int exit_code = EXIT_USAGE;
    if (servers_init(&ctl.servers, args))
        exit_code = args->verb->run(&ctl);
    servers_deinit(&ctl.servers);
    return exit_code;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* so that writing to a closed stdout fails, which is checked below */
    struct args args;
    int exit_code = args_parse(&args, argc, argv, verbs, VERBS) ? run(&args) : EXIT_USAGE;
    args_deinit(&args);
    if ((fflush(stdout) != 0 || ferror(stdout)) && exit_code == EXIT_OK) {
        fputs("couponctl: could not write the whole answer to stdout\n", stderr);
        exit_code = EXIT_REFUSED;
    }
    return exit_code;
}
