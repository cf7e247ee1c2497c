/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/upkeep/flag_mender.h"

#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/outage.h"
#include "store/coupon_rows.h"
#include "store/flags.h"

struct flag_mender {
    struct flags *flags;
    struct pg *pg;
    struct arena *arena;
    struct outage ahead; /* limits the log lines about flags with too high versions */
    struct metric *mended;
};

bool flag_mender_new(const struct flag_mender_options *options, struct flag_mender **ret_mender, struct err *err) {
    struct flags *flags;
    if (!flags_new(options->redis, &flags, err))
        return false;
    struct flag_mender *mender = memory_new(1, sizeof *mender);
    *mender = (struct flag_mender){
        .flags = flags,
        .pg = options->pg,
        .arena = options->arena,
        .mended = metrics_counter("couponsd_reconcile_flags_mended_total",
                                  "Flags in Redis that differed from Postgres and were corrected.", ""),
    };
    *ret_mender = mender;
    return true;
}

void flag_mender_free(struct flag_mender *mender) {
    if (!mender)
        return;
    flags_free(mender->flags);
    free(mender);
}

/* A flag's version can only be above that of its coupon if the coupon was changed after it was read, or if the flag
 * comes from elsewhere. So the coupons are read again, after the flags. Flags that are still ahead are added to
 * `wrong`; they replace exactly the version that was seen, so that a writer of a newer one wins. Returns false if
 * Postgres fails. */
static bool find_ahead(struct flag_mender *mender, const struct flag *ahead, size_t n, struct flag *wrong,
                       size_t *n_wrong, struct err *err) {
    struct coupon *rows = ARENA_ARRAY(mender->arena, struct coupon, n);
    size_t n_before = *n_wrong;
    int64_t now_us;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct coupon){.id = ahead[i].coupon_id};
    if (!coupon_rows_load(mender->pg, mender->arena, rows, n, &now_us, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct flag should = flag_of(&rows[i], now_us);
        if (!rows[i].exists || ahead[i].version <= should.version)
            continue;
        should.replaces = ahead[i].version;
        if (*n_wrong == n_before && outage_failed(&mender->ahead))
            log_warn("reconcile.flag_ahead", LOG_INT("coupon_id", should.coupon_id),
                     LOG_INT("version", should.replaces), LOG_INT("should_be", should.version),
                     LOG_STR("then", "replaced"),
                     LOG_STR("reason", "Postgres was restored from a backup, or another installation uses this Redis"));
        wrong[(*n_wrong)++] = should;
    }
    return true;
}

bool flag_mender_run(struct flag_mender *mender, const struct coupon *rows, size_t n, int64_t now_us, struct err *err) {
    struct flag *ahead = ARENA_ARRAY(mender->arena, struct flag, n);
    struct flag *have = ARENA_ARRAY(mender->arena, struct flag, n);
    struct flag *wrong = ARENA_ARRAY(mender->arena, struct flag, n);
    size_t n_wrong = 0, n_ahead = 0;
    for (size_t i = 0; i < n; i++)
        have[i] = (struct flag){.coupon_id = rows[i].id};
    if (!flags_get(mender->flags, have, n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct flag should = flag_of(&rows[i], now_us);
        if (!rows[i].exists)
            continue; /* it was deleted after its id was read */
        if (have[i].version > should.version)
            ahead[n_ahead++] = have[i];
        else if (have[i].value != should.value || have[i].version != should.version)
            wrong[n_wrong++] = should;
    }
    if (n_ahead && !find_ahead(mender, ahead, n_ahead, wrong, &n_wrong, err))
        return false;
    if (n_wrong)
        FAULT_POINT("reconcile", "before_flag_write");
    if (!flags_set(mender->flags, wrong, n_wrong, err))
        return false;
    if (n_wrong)
        FAULT_POINT("reconcile", "after_flag_write");
    metric_add(mender->mended, (int64_t)n_wrong);
    return true;
}
