/* SPDX-License-Identifier: Apache-2.0 */
/* couponctl: the verbs, and what holds for all of them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl.h"

const struct option_spec global_options[] = {
    {"server", "HOST:PORT", "couponsd; COUPONCTL_SERVER in the environment, else 127.0.0.1:50051"},
    {"tls", NULL, "connect by TLS, and believe the system's authorities"},
    {"ca", "FILE", "connect by TLS, and believe the authorities in this PEM file"},
    {"cert", "FILE", "show this certificate (PEM), with --key"},
    {"key", "FILE", "its private key (PEM)"},
    {"server-name", "NAME", "what the server's certificate is for, where that is not HOST"},
    {"token-file", "FILE", "show the bearer token in it; else COUPONCTL_TOKEN in the environment"},
    {"json", NULL, "one JSON object per line, errors too"},
    {"timeout", "MS", "of a call (10000; health: 2000; watch: none; 0: none)"},
    {"help", NULL, "print this, and exit"},
    {"version", NULL, "print the version, and exit"},
    {0},
};

static int verb_help(struct ctl *ctl);

static const struct verb verbs[] = {
    {"create", "", 0, 0, create_options, verb_create, "create a coupon"},
    {"get", "ID", 1, 0, NULL, verb_get, "show a coupon"},
    {"list", "", 0, 0, list_options, verb_list, "list all coupons by id"},
    {"pause", "ID", 1, 0, NULL, verb_pause, "stop giving tickets for now; those given are honoured"},
    {"resume", "ID", 1, 0, NULL, verb_resume, "give tickets again"},
    {"close", "ID", 1, 0, NULL, verb_close, "stop giving tickets for good; those given are honoured"},
    {"add", "ID N", 2, 0, add_options, verb_add, "raise the quantity by N"},
    {"request", "COUPON USER", 2, 0, request_options, verb_request, "ask for a coupon in a user's name"},
    {"status", "COUPON USER", 2, 0, NULL, verb_status, "tell where a request stands"},
    {"watch", "COUPON USER", 2, 0, NULL, verb_watch, "print each change of a request until it is final"},
    {"coupons", "USER", 1, 0, list_options, verb_coupons, "list what a user holds"},
    {"health", "", 0, 0, NULL, verb_health, "ask whether couponsd serves: exit code 0 if it does, 1 if not"},
    {"bench", "", 0, 0, bench_options, verb_bench,
     "measure: many users ask at once, until all that was accepted is issued\n\n"
     "Several servers (--server repeated, or with commas) take turns. Without --rate a new call starts when one ends.\n"
     "SIGINT and SIGTERM end the load early; what is known then is printed, and the exit code is 4."},
    {"topics", "[ACTION] [WHICH]", 0, 2, topics_options, verb_topics,
     "see to the topics in Kafka\n\n"
     "  topics list                               all of them, whether they are in use, what is unread\n"
     "  topics migrate --to v2 --partitions 16    publish to another version, lane by lane; back again with --to v1\n"
     "  topics pause                              leave lanes where they are; migrate continues\n"
     "  topics delete v1                          delete a version that is drained\n"
     "  topics retire COUPON                      delete the own topics of a closed coupon that is drained"},
    {"dead-letters", "[ACTION] [WHICH]", 0, 2, dead_letters_options, verb_dead_letters,
     "see to events that were put aside\n\n"
     "  dead-letters list                         all of them: where each stands in Kafka, and why it was put aside\n"
     "  dead-letters show ID                      one of them, with its key and value\n"
     "  dead-letters replay ID                    judge it anew, and send it again if it can be issued; ID-ID: "
     "several\n"
     "  dead-letters drop ID                      forget it; ID-ID: several\n\n"
     "Replaying is safe, also twice. Its exit code is 1 where one of them stays."},
    {"verify", "COUPON", 1, 0, verify_options, verb_verify,
     "check one coupon from the ledger to the topics, and tell what was checked\n\n"
     "The exit code is 0 if all of it holds, 4 if something does not, 1 if something could not be told."},
    {"help", "[VERB]", 0, 1, NULL, verb_help, "tell the verbs, or the options of one"},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

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
        return args_refuse(args, "what shall it do? See couponctl help");
    if (args->n_operands < args->verb->n_operands)
        return args_refuse(args, "%s needs more: couponctl %s %s", args->verb->name, args->verb->name,
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
    signal(SIGPIPE, SIG_IGN); /* a closed stdout is noticed below */
    struct args args;
    int exit_code = args_parse(&args, argc, argv, verbs, VERBS) ? run(&args) : EXIT_USAGE;
    args_deinit(&args);
    if ((fflush(stdout) != 0 || ferror(stdout)) && exit_code == EXIT_OK) {
        fputs("couponctl: not all of the answer could be printed\n", stderr);
        exit_code = EXIT_REFUSED;
    }
    return exit_code;
}
