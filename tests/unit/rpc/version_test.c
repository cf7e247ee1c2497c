/* SPDX-License-Identifier: Apache-2.0 */
/* The warnings about how a server was built. */
#include <criterion/criterion.h>
#include <grpc/grpc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/core.h"
#include "rpc/server.h"

Test(version, the_core_is_named_as_it_names_itself) {
    cr_assert_str_eq(rpc_core_version(), grpc_version_string());
}

Test(version, only_a_core_that_was_not_tested_is_warned_of) {
    const char *warning = rpc_untested_core();
    if (strcmp(grpc_version_string(), "29.0.0") == 0)
        cr_assert_null(warning, "%s", warning);
    else
        cr_assert(warning && strstr(warning, "1.51.1"), "it says what was tested");
}

Test(version, a_time_of_the_core_is_converted_to_the_clock_of_the_kernel) {
    core_init();
    int64_t now_us = core_time_us(gpr_now(GPR_CLOCK_MONOTONIC)) - clock_mono_us();
    cr_assert_lt(llabs(now_us), US_PER_S / 2);
    cr_assert_eq(core_time_us(gpr_inf_future(GPR_CLOCK_REALTIME)), INT64_MAX);
    core_deinit();
}

Test(version, a_build_without_the_edge_says_what_is_missing) {
    const char *missing = rpc_missing_edge();
    cr_assert_eq(missing == NULL, HAS_EDGE);
    cr_assert(HAS_EDGE || strstr(missing, "limits on connections"));
}
