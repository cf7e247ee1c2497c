/* SPDX-License-Identifier: Apache-2.0 */
/* The warnings about how a server was built. */
#include <criterion/criterion.h>
#include <grpc/grpc.h>
#include <string.h>

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

Test(version, a_build_without_the_edge_says_what_is_missing) {
    const char *missing = rpc_missing_edge();
    cr_assert_eq(missing == NULL, HAS_EDGE);
    cr_assert(HAS_EDGE || strstr(missing, "limits on connections"));
}
