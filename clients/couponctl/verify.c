/* SPDX-License-Identifier: Apache-2.0 */
/* The verb verify, on IntegrityService. */
#include "coupon/v1/integrity_service.pb-c.h"
#include "ctl.h"
#include "output.h"

#define TOPICS_TIMEOUT_MS_DEFAULT 5000
/* Time limit of all other checks. Postgres reads all rows of the coupon. */
#define REST_MS 60000

const struct option_spec verify_options[] = {
    {"no-topics", NULL, "do not read the topics in Kafka"},
    {"topics-timeout", "MS", "time limit of reading the topics (5000)"},
    {0},
};

/* Prints each check. The worst result decides the exit code. */
static int print_all(const struct ctl *ctl, const Coupon__V1__VerifyCouponResponse *response) {
    int exit_code = EXIT_OK;
    for (size_t i = 0; i < response->n_checks; i++) {
        const Coupon__V1__Check *check = response->checks[i];
        print_check(check, ctl->json);
        if (check->result == COUPON__V1__CHECK__RESULT__RESULT_FAILED)
            exit_code = EXIT_INCONSISTENT;
        else if (check->result != COUPON__V1__CHECK__RESULT__RESULT_OK && exit_code == EXIT_OK)
            exit_code = EXIT_REFUSED;
    }
    return exit_code;
}

int verb_verify(struct ctl *ctl) {
    Coupon__V1__VerifyCouponRequest request = COUPON__V1__VERIFY_COUPON_REQUEST__INIT;
    int64_t topics_ms = TOPICS_TIMEOUT_MS_DEFAULT;
    if (!args_operand_int(ctl->args, 0, "COUPON", &request.coupon_id) ||
        !args_int(ctl->args, "topics-timeout", 1, 600000, &topics_ms))
        return EXIT_USAGE;
    request.without_topics = args_flag(ctl->args, "no-topics");
    request.topics_timeout_ms = (int32_t)topics_ms;
    if (!args_flag(ctl->args, "timeout"))
        ctl->timeout_ms = topics_ms + REST_MS;
    struct remote remote;
    if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
        return EXIT_UNREACHABLE;
    int exit_code = EXIT_OK;
    Coupon__V1__VerifyCouponResponse *response = ctl_call(ctl, &remote, &request.base, NULL, &exit_code);
    if (response)
        exit_code = print_all(ctl, response);
    coupons_free(response);
    remote_deinit(&remote);
    return exit_code;
}
