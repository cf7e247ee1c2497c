/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the verbs of couponctl: exit codes, the settings of a run, and the list of verbs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "args.h"
#include "remote.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_REFUSED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_INCONSISTENT = 4, /* bench and verify only */
};

struct ctl {
    const struct args *args;
    bool json;
    int64_t timeout_ms; /* of one call; 0: none. Verbs with another default look whether --timeout was given */
    struct servers servers;
};

#define TIMEOUT_MS_DEFAULT   10000 /* longer than any healthy answer takes, and short enough for a person to wait */
#define PAGE_SIZE_MAX        1000  /* the limit of the service */
#define RETRY_FOR_MS_DEFAULT 30000 /* long enough for a killed server to restart */

int verb_create(struct ctl *ctl);
int verb_get(struct ctl *ctl);
int verb_list(struct ctl *ctl);
int verb_pause(struct ctl *ctl);
int verb_resume(struct ctl *ctl);
int verb_close(struct ctl *ctl);
int verb_add(struct ctl *ctl);
int verb_request(struct ctl *ctl);
int verb_status(struct ctl *ctl);
int verb_watch(struct ctl *ctl);
int verb_coupons(struct ctl *ctl);
int verb_health(struct ctl *ctl);
int verb_bench(struct ctl *ctl);
int verb_top(struct ctl *ctl);
int verb_topics(struct ctl *ctl);
int verb_dead_letters(struct ctl *ctl);
int verb_verify(struct ctl *ctl);
extern const struct option_spec create_options[], list_options[], add_options[], request_options[], bench_options[],
    top_options[], topics_options[], dead_letters_options[], verify_options[];
