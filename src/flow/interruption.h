/* How a step tells that a backend is away: base/outage.h with the step's name in the log line. */
#pragma once

#include "base/err.h"
#include "base/outage.h"

/* One structured line where one is due: event=stage.interrupted stage=… backend=… error=… */
void trouble_failed(struct outage *outage, const char *stage, const struct err *err);
/* event=stage.resumed, if there was trouble. */
void trouble_over(struct outage *outage, const char *stage);
