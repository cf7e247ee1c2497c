/* SPDX-License-Identifier: Apache-2.0 */
/* absent.c, which takes the place of the edge in a build without it. This program is linked with it. */
#include <criterion/criterion.h>

#include "edge/edge.h"

Test(absent, a_build_without_the_edge_says_so_and_counts_nothing) {
    cr_assert_not(edge_is_present());
    edge_open(1);
    edge_batch_begin();
    edge_batch_end();
    edge_poller_waits();
    edge_close(1);
    edge_forget(1);
    cr_assert_eq(edge_refused(), 0);
    for (int why = EDGE_ABUSE_NONE; why <= EDGE_ABUSE_NONE + 1; why++)
        cr_assert_eq(edge_cut((enum edge_abuse)why), 0);
}

Test(absent, nothing_of_a_batch_is_left_to_be_sent_again) {
    cr_assert(edge_batch_retry());
}
