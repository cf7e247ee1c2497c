/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reason_help.h"

#include <inttypes.h>

#include "model/reason.h"
#include "rpc/rpc.h"
#include "rpc/server.h"

static void print_codes(FILE *out, const struct reason_info *info) {
    fprintf(out, "%s", rpc_code_name(info->code));
    if (info->other_code)
        fprintf(out, " or %s", rpc_code_name(info->other_code));
}

static void print_row(FILE *out, enum reason reason) {
    const struct reason_info *info = reason_info(reason);
    fprintf(out, "| `%s` | ", info->name);
    print_codes(out, info);
    if (reason_is_retriable(reason))
        fprintf(out, " | yes, after %" PRId64 " ms", info->retry_after_ms);
    else
        fprintf(out, " | no");
    fprintf(out, " | %s | %s | %s |\n", info->metadata, info->text, info->hint);
}

void reason_help_markdown(FILE *out) {
    fputs(
        "# Reasons\n\n"
        "Made by `couponsd --reasons markdown`.\n\n"
        "A call that couponsd refuses ends with a canonical gRPC code and a google.rpc.Status in\n"
        "`grpc-status-details-bin`. Its google.rpc.ErrorInfo has the domain `coupon.v1` and one of these reasons. The\n"
        "enum `coupon.v1.ErrorReason` lists them as constants, and the metric `couponsd_refused_total` counts them.\n\n"
        "- **Retry**: where it is yes, a google.rpc.RetryInfo names the delay, and the same request may be sent "
        "again.\n"
        "- **Metadata**: the keys of ErrorInfo's metadata.\n"
        "- **Text**: the status message. A name in braces stands for the metadata of that name. Some answers have a\n"
        "  more precise message.\n"
        "- **What to do**: the advice that couponctl prints.\n\n",
        out);
    fprintf(out, "`INVALID_FIELD` also carries a google.rpc.BadRequest with every bad field, up to %d.\n\n",
            RPC_BAD_FIELDS_MAX);
    fputs(
        "A call that never reaches a service has a code and a message, but no reason: an unknown method, or a request\n"
        "that is too large or can't be decoded. [The bridge](bridge.md#errors-and-details) lists these codes, and\n"
        "`couponsd_rpc_total` counts them.\n\n"
        "| reason | code | retry | metadata | text | what to do |\n"
        "|---|---|---|---|---|---|\n",
        out);
    for (int reason = REASON_NONE + 1; reason < REASON_DROPPED; reason++)
        print_row(out, (enum reason)reason);
    fprintf(out, "\n`%s` is only counted, and never sent: ", reason_info(REASON_DROPPED)->name);
    fprintf(out, "%s. Such a call ends with ", reason_info(REASON_DROPPED)->text);
    print_codes(out, reason_info(REASON_DROPPED));
    fputs(".\n", out);
}
