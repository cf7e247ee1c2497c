/* SPDX-License-Identifier: Apache-2.0 */
/* The verb top: the coupons, live. The terminal is put into a mode without echo and line editing, and back when top
 * ends, by a key or a signal. Without a terminal, or with --once, top prints two looks' worth of rates and ends. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "ctl.h"
#include "top_screen.h"

#define INTERVAL_MS_DEFAULT 1000
#define HTTP_TIMEOUT_S      2
#define HTTP_MAX            (4 << 20)
#define WIDTH_WITHOUT       160 /* columns, where there is no terminal */
#define SCREEN_ON           "\033[?1049h\033[?25l"
#define SCREEN_OFF          "\033[?25h\033[?1049l"

const struct option_spec top_options[] = {
    {"interval", "MS", "time between two looks (1000)"},
    {"metrics", "HOST:PORT", "also show refusals, queues and lag, from couponsd's HTTP side; several with commas"},
    {"once", NULL, "print one screen as text, and end"},
    {0},
};

static volatile sig_atomic_t is_asked_to_end, has_resized;

static void on_signal(int number) {
    if (number == SIGWINCH)
        has_resized = 1;
    else
        is_asked_to_end = 1;
}

/* --- looking --- */

struct top {
    struct ctl *ctl;
    struct remote remote;
    const char *metrics; /* HOST:PORT,... of the instances; NULL: none */
    struct top_look look, before;
    struct top_view view;
    char error[200];
};

static int http_connect(const char *address) {
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    bool has_brackets = address[0] == '[' && colon > address && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - (has_brackets ? 2 : 0), address + has_brackets);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    int fd = -1;
    for (const struct addrinfo *each = found; each && fd < 0; each = each->ai_next) {
        struct timeval limit = {.tv_sec = HTTP_TIMEOUT_S};
        fd = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, each->ai_addr, each->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* An instance that does not answer is not counted, and the screen says so. */
static void read_instance(struct top *top, const char *address) {
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    struct strbuf answer = {0};
    char part[16384];
    int fd = http_connect(address);
    if (fd < 0)
        return;
    ssize_t n = send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    while (n > 0 && answer.len < HTTP_MAX && (n = recv(fd, part, sizeof part, 0)) > 0)
        strbuf_add(&answer, part, (size_t)n);
    close(fd);
    const char *body = answer.len > 0 ? strstr(answer.data, "\r\n\r\n") : NULL;
    if (body && strncmp(answer.data, "HTTP/1.", 7) == 0) {
        struct top_metrics one;
        top_metrics_read(&one, body);
        top_metrics_add(&top->look.metrics, &one);
    }
    strbuf_deinit(&answer);
}

static void read_metrics(struct top *top) {
    char address[300];
    top->view.n_asked = 0;
    for (const char *at = top->metrics ? top->metrics : ""; *at && !is_asked_to_end;) {
        size_t len = strcspn(at, ",");
        snprintf(address, sizeof address, "%.*s", (int)len, at);
        if (len > 0) {
            top->view.n_asked++;
            read_instance(top, address);
        }
        at += at[len] ? len + 1 : len;
    }
}

static bool read_coupons(struct top *top) {
    char token[64] = "";
    do {
        Coupon__V1__ListCouponsRequest request = COUPON__V1__LIST_COUPONS_REQUEST__INIT;
        struct coupons_failure failure;
        request.page_size = PAGE_SIZE_MAX;
        request.page_token = token;
        Coupon__V1__ListCouponsResponse *page =
            coupons_call_once(top->remote.client, &request.base, top->ctl->timeout_ms, &failure);
        if (!page) {
            snprintf(top->error, sizeof top->error, "%s: %s", coupons_failure_name(&failure), failure.message);
            coupons_failure_deinit(&failure);
            return false;
        }
        for (size_t i = 0; i < page->n_coupons; i++)
            top_look_add(&top->look, page->coupons[i]);
        snprintf(token, sizeof token, "%s", page->next_page_token);
        coupons_free(page);
    } while (*token && !is_asked_to_end);
    return true;
}

/* Looks once. If the server does not answer, the former look stays, and the screen says why. */
static bool look(struct top *top) {
    struct top_look former = top->before;
    top->before = top->look;
    top->look = (struct top_look){.at_us = clock_mono_us()};
    bool is_fine = read_coupons(top);
    if (is_fine) {
        read_metrics(top);
        top_look_compare(&top->look, &top->before);
        top_look_sort(&top->look, top->view.order);
        top_look_deinit(&former);
    } else {
        top_look_deinit(&top->look);
        top->look = top->before;
        top->before = former;
    }
    top->view.error = is_fine ? NULL : top->error;
    return is_fine;
}

/* --- the terminal --- */

static void draw(struct top *top) {
    struct winsize size = {0};
    struct strbuf screen = {0}, out = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        top->view.rows = size.ws_row;
        top->view.width = size.ws_col;
    }
    size_t room = top_room(&top->look, &top->view), last = top->look.n > room ? top->look.n - room : 0;
    top->view.first = top->view.first < last ? top->view.first : last;
    top_render(&screen, &top->look, &top->view);
    strbuf_puts(&out, "\033[H");
    for (const char *line = screen.data; *line;) {
        size_t len = strcspn(line, "\n");
        bool is_last = !line[len + 1];
        strbuf_add(&out, line, len);
        strbuf_puts(&out, is_last ? "\033[K" : "\033[K\r\n");
        line += len + 1;
    }
    strbuf_puts(&out, "\033[J");
    for (size_t at = 0; at < out.len;) {
        ssize_t n = write(STDOUT_FILENO, out.data + at, out.len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    strbuf_deinit(&screen);
    strbuf_deinit(&out);
}

/* Works on keys. False: the user wants to leave. */
static bool take_keys(struct top *top, const char *keys, size_t n) {
    size_t page = top_room(&top->look, &top->view);
    for (size_t i = 0; i < n; i++) {
        const char *key = keys + i;
        bool is_escape = key[0] == '\033' && n - i >= 3 && key[1] == '[';
        if (key[0] == 'q' || key[0] == 4)
            return false;
        if (key[0] == 's') {
            top->view.order = (enum top_order)((top->view.order + 1) % TOP_ORDERS);
            top_look_sort(&top->look, top->view.order);
        }
        size_t down = key[0] == 'j' || (is_escape && key[2] == 'B') ? 1 : is_escape && key[2] == '6' ? page : 0;
        size_t up = key[0] == 'k' || (is_escape && key[2] == 'A') ? 1 : is_escape && key[2] == '5' ? page : 0;
        top->view.first += down;
        top->view.first -= up < top->view.first ? up : top->view.first;
        i += is_escape ? 2 : 0;
    }
    return true;
}

/* Waits until the next look is due. False: the user wants to leave. */
static bool wait_for_keys(struct top *top, int64_t until_us) {
    while (!is_asked_to_end) {
        int64_t left_us = until_us - clock_mono_us();
        struct pollfd keyboard = {.fd = STDIN_FILENO, .events = POLLIN};
        char keys[64];
        if (left_us <= 0)
            return true;
        int n = poll(&keyboard, 1, (int)(left_us / US_PER_MS) + 1);
        ssize_t got = n > 0 ? read(STDIN_FILENO, keys, sizeof keys) : 0;
        if (n > 0 && got <= 0 && errno != EINTR)
            return false; /* the terminal is gone */
        if (got > 0 && !take_keys(top, keys, (size_t)got))
            return false;
        if (got > 0 || has_resized)
            draw(top);
        has_resized = 0;
    }
    return false;
}

static void run_live(struct top *top, int64_t interval_us) {
    struct termios before, raw;
    struct sigaction action = {.sa_handler = on_signal};
    bool has_mode = tcgetattr(STDIN_FILENO, &before) == 0;
    for (const int *each = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGWINCH, 0}; *each; each++)
        sigaction(*each, &action, NULL);
    if (has_mode) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs(SCREEN_ON, stdout);
    fflush(stdout);
    for (bool goes_on = true; goes_on;) {
        int64_t until_us = clock_mono_us() + interval_us;
        look(top);
        draw(top);
        goes_on = wait_for_keys(top, until_us);
    }
    fputs(SCREEN_OFF, stdout);
    fflush(stdout);
    if (has_mode)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static int print_once(struct top *top, int64_t interval_us) {
    struct strbuf screen = {0};
    bool is_fine = look(top);
    clock_sleep_us(is_fine ? interval_us : 0);
    is_fine = is_fine && look(top);
    if (!is_fine) {
        fprintf(stderr, "couponctl: %s: %s\n", top->remote.target, top->error);
        return EXIT_UNREACHABLE;
    }
    top_render(&screen, &top->look, &top->view);
    fputs(screen.data, stdout);
    strbuf_deinit(&screen);
    return EXIT_OK;
}

int verb_top(struct ctl *ctl) {
    const struct args *args = ctl->args;
    int64_t interval_ms = INTERVAL_MS_DEFAULT;
    struct top top = {.ctl = ctl, .metrics = args_text(args, "metrics")};
    if (!args_int(args, "interval", 100, 3600000, &interval_ms))
        return EXIT_USAGE;
    if (!remote_init(&top.remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    bool is_live = !args_flag(args, "once") && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    const char *no_color = getenv("NO_COLOR");
    top.view = (struct top_view){
        .server = top.remote.target, .width = WIDTH_WITHOUT, .has_colors = is_live && !(no_color && *no_color)};
    int exit_code = EXIT_OK;
    if (is_live)
        run_live(&top, interval_ms * US_PER_MS);
    else
        exit_code = print_once(&top, interval_ms * US_PER_MS);
    top_look_deinit(&top.look);
    top_look_deinit(&top.before);
    remote_deinit(&top.remote);
    return exit_code;
}
