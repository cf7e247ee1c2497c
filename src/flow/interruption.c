#include "flow/interruption.h"

#include "base/clock.h"
#include "base/log.h"

void trouble_failed(struct outage *outage, const char *stage, const struct err *err) {
    if (outage_failed(outage))
        log_warn("stage.interrupted", LOG_STR("stage", stage), LOG_STR("backend", backend_name(err->backend)),
                 LOG_ERR(err));
}

void trouble_over(struct outage *outage, const char *stage) {
    int64_t us;
    if (outage_over(outage, &us))
        log_info("stage.resumed", LOG_STR("stage", stage), LOG_NUM("after_s", (double)us / US_PER_S));
}
