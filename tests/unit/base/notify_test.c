/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"

/* Binds a socket with a name of this process, sends READY=1 to it, and returns what has come. */
static const char *told(const char *first) {
    static char text[100];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof address.sun_path, "%s/couponsd-notify.%d", first, (int)getpid());
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    notify("READY=1");
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    if (address.sun_path[0] != '\0')
        unlink(address.sun_path);
    return text;
}

Test(notify, a_state_is_one_datagram_to_a_socket_in_the_file_system_or_an_abstract_one) {
    cr_expect_str_eq(told("/tmp"), "READY=1");
    cr_expect_str_eq(told("@"), "READY=1");
}

Test(notify, without_a_service_manager_nothing_happens) {
    unsetenv("NOTIFY_SOCKET");
    notify("READY=1");
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    notify("READY=1");
    setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
    notify("READY=1");
    char name[300];
    memset(name, '/', sizeof name);
    name[sizeof name - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    notify("READY=1");
}

Test(notify, the_watchdogs_interval_is_meant_for_one_process) {
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    cr_expect_eq(notify_watchdog_us(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    cr_expect_eq(notify_watchdog_us(), 30000000);
    setenv("WATCHDOG_PID", "1", 1);
    cr_expect_eq(notify_watchdog_us(), 0);
    char pid[20];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    cr_expect_eq(notify_watchdog_us(), 30000000);
    setenv("WATCHDOG_USEC", "-1", 1);
    cr_expect_eq(notify_watchdog_us(), 0);
}
