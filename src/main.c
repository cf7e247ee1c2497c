/* SPDX-License-Identifier: Apache-2.0 */
/* The entry point: reads the command line, starts the server, waits for a signal, and stops the server.
 *
 * Exit codes:
 *   0  stopped on request
 *   1  a defect, or resources are exhausted
 *   2  wrong usage or settings
 *   3  a required backend is unavailable or refuses, or a secret or certificate is not there yet
 *   4  stopped without finishing the drain (second signal, or the drain took too long); no accepted request is lost
 *
 * Threads: SIGTERM, SIGINT and SIGHUP are blocked in all threads. The main thread waits for the first signal; during
 * the stop, watch_the_stop waits for a second. SIGHUP changes nothing: files that settings name are read again whenever
 * they change. A signal during the start ends the wait for Postgres; otherwise the stop follows the start. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/reason_help.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/config.h"
#include "descriptor_set.h"
#include "server.h"
#include "store/kafka.h"
#include "supervisor.h"

enum { EXIT_DEFECT = 1, EXIT_USAGE = 2, EXIT_BACKEND = 3, EXIT_HURRIED = 4 };

/* How long the stop may still take: after server.drain_ms has passed, and after that or a second signal. */
#define LAST_MARGIN_S  5
#define HURRY_MARGIN_S 1
/* Open files: those of its own, and the reserve that clients do not get (OWN_FILES in src/edge/door.c). */
#define FILES_MIN 256
/* No more open files than the edge guards (src/edge/connections.c). A container's limit may be a billion, and libraries
 * may have tables of that size. */
#define FILES_MAX (1 << 20)

/* jemalloc reads this setting if couponsd is linked with it. One thread often frees memory that another thread then
 * allocates. With jemalloc's default of several arenas, couponsd uses a seventh more memory and is no faster. */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:1";

static atomic_bool hurry;
static int64_t drain_ms;

static void print_help(FILE *out) {
    fputs("couponsd: first-come, first-served coupons over gRPC\n\n"
          "usage: couponsd [--config FILE] [--set KEY=VALUE]... [--check-config]\n\n"
          "  --config FILE      read settings from an INI file\n"
          "  --set KEY=VALUE    override one setting; may be repeated\n"
          "  --check-config     check the settings, and that the files they name can be read; exit\n"
          "  --settings FORMAT  print the settings as text, markdown, ini (an example file) or man, and exit\n"
          "  --reasons FORMAT   print the reasons of refusals as markdown, and exit\n"
          "  --descriptor-set   print the services as a FileDescriptorSet, which proxies read, and exit\n"
          "  --version          print the version, and exit\n"
          "  --help             print this, and exit\n\n"
          "SIGTERM and SIGINT stop it gracefully; a second signal ends it at once. SIGHUP changes nothing.\n\n"
          "Settings come from the file, the environment (COUPONSD_SET_GRPC_LISTEN=… is grpc.listen) and --set; the\n"
          "later wins. A value file:PATH is read from that file: use this for passwords. Any other kafka.NAME\n"
          "is a property of librdkafka, e.g. kafka.security.protocol.\n\nSettings:\n",
          out);
    config_help(out, CONFIG_TEXT);
}

/* A file that is not there yet may come, unless the question is whether all is well now. */
static int refuse(const struct err *err, bool check) {
    fprintf(stderr, "couponsd: %s\n", err->text);
    return err->retriable && !check ? EXIT_BACKEND : EXIT_USAGE;
}

static int print_settings(const char *format_name) {
    enum config_format format;
    if (!config_format_named(format_name, &format)) {
        fprintf(stderr, "couponsd: --settings %s: expected text, markdown, ini or man\n", format_name);
        return EXIT_USAGE;
    }
    config_help(stdout, format);
    if (format == CONFIG_MARKDOWN) {
        fputs("\n## Properties of librdkafka\n\nAny other `kafka.NAME` is a property of librdkafka, except these. "
              "couponsd"
              " refuses them at the start and in\n`--check-config`, as it refuses whatever librdkafka refuses.\n\n",
              stdout);
        kafka_print_properties(stdout);
    }
    return 0;
}

static int print_reasons(const char *format_name) {
    if (strcmp(format_name, "markdown") != 0) {
        fprintf(stderr, "couponsd: --reasons %s: expected markdown\n", format_name);
        return EXIT_USAGE;
    }
    reason_help_markdown(stdout);
    return 0;
}

static int print_descriptor_set(void) {
    bool ok = fwrite(descriptor_set, 1, descriptor_set_size, stdout) == descriptor_set_size && fflush(stdout) == 0;
    if (!ok)
        fprintf(stderr, "couponsd: --descriptor-set: %s\n", strerror(errno));
    return ok ? 0 : EXIT_USAGE;
}

/* Reads the command line. Returns the exit code, or -1 if the server should start. */
static int read_command_line(int argc, char **argv, struct config *config) {
    enum { OPT_CONFIG = 1, OPT_SET, OPT_CHECK, OPT_SETTINGS, OPT_REASONS, OPT_DESCRIPTOR_SET, OPT_VERSION, OPT_HELP };
    static const struct option options[] = {
        {"config", required_argument, NULL, OPT_CONFIG},
        {"set", required_argument, NULL, OPT_SET},
        {"check-config", no_argument, NULL, OPT_CHECK},
        {"settings", required_argument, NULL, OPT_SETTINGS},
        {"reasons", required_argument, NULL, OPT_REASONS},
        {"descriptor-set", no_argument, NULL, OPT_DESCRIPTOR_SET},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
    };
    struct err err;
    bool check = false;
    const char *file = NULL;
    int option, n_sets = 0;
    char **sets = memory_new((size_t)argc, sizeof *sets);
    int result = -1;
    while (result < 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPT_CONFIG:
            file = optarg;
            break;
        case OPT_SET:
            sets[n_sets++] = optarg;
            break;
        case OPT_CHECK:
            check = true;
            break;
        case OPT_SETTINGS:
            result = print_settings(optarg);
            break;
        case OPT_REASONS:
            result = print_reasons(optarg);
            break;
        case OPT_DESCRIPTOR_SET:
            result = print_descriptor_set();
            break;
        case OPT_VERSION:
            puts("couponsd " COUPONSD_VERSION);
            result = 0;
            break;
        case OPT_HELP:
            print_help(stdout);
            result = 0;
            break;
        default:
            fputs("couponsd: try --help\n", stderr);
            result = EXIT_USAGE;
        }
    }
    if (result < 0 && optind < argc) {
        fprintf(stderr, "couponsd: unexpected argument '%s': try --help\n", argv[optind]);
        result = EXIT_USAGE;
    }
    if (result < 0 && file && !config_read_file(config, file, &err))
        result = refuse(&err, check);
    if (result < 0 && !config_read_environment(config, environ, &err))
        result = refuse(&err, check);
    for (int i = 0; result < 0 && i < n_sets; i++)
        if (!config_set(config, sets[i], &err))
            result = refuse(&err, check);
    if (result < 0 && !config_finish(config, &err))
        result = refuse(&err, check);
    if (result < 0 && !config_check_files(config, &err))
        result = refuse(&err, check);
    if (result < 0 && check) {
        puts("settings are fine");
        result = 0;
    }
    free(sets);
    return result;
}

/* Runs while the main thread stops the server. Ends the process soon after a second signal, or when the drain takes
 * too long. */
static void *watch_the_stop(void *arg) {
    const sigset_t *signals = arg;
    struct timespec patience = {.tv_sec = drain_ms / 1000 + LAST_MARGIN_S};
    bool signalled = sigtimedwait(signals, NULL, &patience) >= 0;
    atomic_store(&hurry, true);
    clock_sleep_us(HURRY_MARGIN_S * US_PER_S);
    log_warn("stop.hurried", LOG_STR("reason", signalled ? "a second signal" : "draining took too long"));
    log_writer_stop();
    _exit(EXIT_HURRIED);
}

static bool raise_file_limit(struct err *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return true;
    rlim_t wanted = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    if (limit.rlim_cur != wanted) {
        const struct rlimit most = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            limit = most;
        else
            log_warn("start.file_limit", LOG_INT("limit", limit.rlim_max));
    }
    return limit.rlim_cur >= FILES_MIN ||
           err_set(err, ERR_INVALID, BACKEND_NONE,
                   "the limit of open files is %llu, and couponsd needs at least %d: raise it (ulimit -n, LimitNOFILE)",
                   (unsigned long long)limit.rlim_cur, FILES_MIN);
}

/* Whether a signal has come that nobody has waited for yet. */
static bool stop_is_asked(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

/* Waits until the process is asked to stop. Returns the signal. */
static int wait_for_stop(const sigset_t *stop_signals) {
    sigset_t signals = *stop_signals;
    int number = 0;
    sigaddset(&signals, SIGHUP);
    while (sigwait(&signals, &number) != 0 || number == SIGHUP)
        log_info("reload.not_needed",
                 LOG_STR("read_when_they_change", "certificates, tokens, and passwords from files"),
                 LOG_STR("restart_for", "all other settings"));
    return number;
}

static int serve(const struct config *config) {
    sigset_t signals, blocked;
    struct supervisor *supervisor = NULL;
    pthread_t watcher;
    struct server *server;
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Block the signals before any thread starts: all threads inherit the mask, and the main thread waits for the
     * signals. */
    blocked = signals;
    sigaddset(&blocked, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    log_set_level(config->log_level);
    log_set_format(config->log_format);
    drain_ms = config->server_drain_ms;
    if (!log_writer_start(&err) || !raise_file_limit(&err) || !server_start(config, stop_is_asked, &server, &err)) {
        if (err.retriable && stop_is_asked()) {
            log_info("stop.done", LOG_INT("pid", getpid()), LOG_STR("before", "the server had started"));
            return 0;
        }
        log_error("start.failed", LOG_STR("backend", backend_name(err.backend)), LOG_ERR(&err));
        return err.backend != BACKEND_NONE ? EXIT_BACKEND : EXIT_DEFECT;
    }
    printf("ready grpc=%s http=%s\n", server_grpc_address(server), server_http_address(server));
    fflush(stdout);
    if (!supervisor_ready(config, &supervisor, &err))
        log_error("start.without_watchdog", LOG_ERR(&err));
    log_info("stop.begun", LOG_STR("signal", strsignal(wait_for_stop(&signals))));
    supervisor_stopping();
    if (pthread_create(&watcher, NULL, watch_the_stop, &signals) == 0)
        pthread_detach(watcher);
    server_stop(server, &hurry);
    supervisor_free(supervisor);
    log_info("stop.done", LOG_INT("pid", getpid()));
    return 0;
}

int main(int argc, char **argv) {
    struct config config;
    config_init(&config, &server_config_checks);
    int result = read_command_line(argc, argv, &config);
    if (result < 0)
        result = serve(&config);
    log_writer_stop();
    config_deinit(&config);
    return result;
}
