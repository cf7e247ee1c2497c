/* SPDX-License-Identifier: Apache-2.0 */
/* A library for LD_PRELOAD that reports a limit of a billion open files. On stderr it prints the limit at the first
 * read, each new limit, and at exit the peak memory of the process. */
#define _GNU_SOURCE /* for syscall */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static rlim_t soft = 1000000000;

static int pretend(int resource, struct rlimit *limit) {
    static int is_told;
    if (resource != RLIMIT_NOFILE)
        return (int)syscall(SYS_prlimit64, 0, resource, NULL, limit);
    *limit = (struct rlimit){.rlim_cur = soft, .rlim_max = 1000000000};
    if (!is_told++)
        fprintf(stderr, "billion_files: %lu told\n", (unsigned long)soft);
    return 0;
}

static int take(int resource, const struct rlimit *limit) {
    if (resource != RLIMIT_NOFILE)
        return (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
    soft = limit->rlim_cur;
    fprintf(stderr, "billion_files: %lu set\n", (unsigned long)soft);
    return 0;
}

/* libc declares these functions with different types, so they have other names in C. */
int billion_getrlimit(int resource, struct rlimit *limit) __asm__("getrlimit");
int billion_getrlimit64(int resource, struct rlimit *limit) __asm__("getrlimit64");
int billion_setrlimit(int resource, const struct rlimit *limit) __asm__("setrlimit");
int billion_setrlimit64(int resource, const struct rlimit *limit) __asm__("setrlimit64");

int billion_getrlimit(int resource, struct rlimit *limit) {
    return pretend(resource, limit);
}

int billion_getrlimit64(int resource, struct rlimit *limit) {
    return pretend(resource, limit);
}

int billion_setrlimit(int resource, const struct rlimit *limit) {
    return take(resource, limit);
}

int billion_setrlimit64(int resource, const struct rlimit *limit) {
    return take(resource, limit);
}

__attribute__((destructor)) static void tell_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    fprintf(stderr, "billion_files: %ld MiB at most\n", usage.ru_maxrss / 1024);
}
