/* SPDX-License-Identifier: Apache-2.0 */
/* The verb dead-letters, on DeadLetterAdminService. Its first operand is the action:
 *
 *   list (the default)   show ID   replay ID   drop ID
 *
 * replay and drop also take a range of ids, FIRST-LAST. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "ctl.h"
#include "output.h"

const struct option_spec dead_letters_options[] = {
    {"coupon", "ID", "list: only those of this coupon"},
    {"page-size", "N", "list: dead letters per call, at most 1000"},
    {"limit", "N", "list: stop after N dead letters"},
    {0},
};

/* Reads a positive number; *ret_end is the end of its digits. */
static bool read_id(const char *text, char **ret_end, int64_t *ret_id) {
    errno = 0;
    *ret_id = strtoll(text, ret_end, 10);
    return *ret_end != text && *text >= '0' && *text <= '9' && !errno && *ret_id > 0;
}

/* Reads the second operand, "7" or "7-12". */
static bool read_range(const struct args *args, int64_t *ret_first, int64_t *ret_last) {
    const char *text = args->n_operands > 1 ? args->operands[1] : "";
    char *end;
    bool ok = read_id(text, &end, ret_first);
    *ret_last = *ret_first;
    if (ok && *end == '-')
        ok = read_id(end + 1, &end, ret_last);
    if (!ok || *end || *ret_last < *ret_first) {
        args_refuse(args, "dead-letters %s needs an id, or a range of ids such as 7-12", args->operands[0]);
        return false;
    }
    return true;
}

static int list(struct ctl *ctl, struct remote *remote) {
    int64_t page_size = 0, left = INT64_MAX, coupon_id = 0;
    if (!args_int(ctl->args, "page-size", 1, PAGE_SIZE_MAX, &page_size) ||
        !args_int(ctl->args, "limit", 1, INT64_MAX, &left) || !args_int(ctl->args, "coupon", 1, INT64_MAX, &coupon_id))
        return EXIT_USAGE;
    int exit_code = EXIT_OK;
    Coupon__V1__ListDeadLettersResponse *page = NULL;
    for (bool more = true; more;) {
        Coupon__V1__ListDeadLettersRequest request = COUPON__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
        request.page_size = (int32_t)page_size;
        request.coupon_id = coupon_id;
        if (page)
            request.page_token = page->next_page_token;
        Coupon__V1__ListDeadLettersResponse *next = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
        if (next && !page)
            print_dead_letter_header(ctl->json);
        coupons_free(page);
        page = next;
        if (!page)
            break;
        for (size_t i = 0; i < page->n_dead_letters && left > 0; i++, left--)
            print_dead_letter(page->dead_letters[i], ctl->json);
        more = left > 0 && *page->next_page_token;
    }
    coupons_free(page);
    return exit_code;
}

static int show(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__GetDeadLetterRequest request = COUPON__V1__GET_DEAD_LETTER_REQUEST__INIT;
    if (ctl->args->n_operands < 2)
        return args_refuse(ctl->args, "dead-letters show needs an id: see dead-letters list");
    if (!args_operand_int(ctl->args, 1, "ID", &request.id))
        return EXIT_USAGE;
    int exit_code = EXIT_OK;
    Coupon__V1__GetDeadLetterResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (response && response->dead_letter)
        print_dead_letter_whole(response->dead_letter, ctl->json);
    coupons_free(response);
    return exit_code;
}

static int replay(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__ReplayDeadLettersRequest request = COUPON__V1__REPLAY_DEAD_LETTERS_REQUEST__INIT;
    if (!read_range(ctl->args, &request.first_id, &request.last_id))
        return EXIT_USAGE;
    bool all = true;
    while (request.first_id) {
        int exit_code = EXIT_OK;
        Coupon__V1__ReplayDeadLettersResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
        if (!response)
            return exit_code;
        for (size_t i = 0; i < response->n_replays; i++) {
            print_replay(response->replays[i], ctl->json);
            all = all && response->replays[i]->outcome != COUPON__V1__REPLAY__OUTCOME__OUTCOME_KEPT;
        }
        request.first_id = response->next_id;
        coupons_free(response);
    }
    return all ? EXIT_OK : EXIT_REFUSED;
}

static int drop(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__DropDeadLettersRequest request = COUPON__V1__DROP_DEAD_LETTERS_REQUEST__INIT;
    if (!read_range(ctl->args, &request.first_id, &request.last_id))
        return EXIT_USAGE;
    int exit_code = EXIT_OK;
    Coupon__V1__DropDeadLettersResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (response)
        printf(ctl->json ? "{\"dropped\":%lld}\n" : "dropped %lld\n", (long long)response->dropped);
    coupons_free(response);
    return exit_code;
}

int verb_dead_letters(struct ctl *ctl) {
    static const struct ctl_action actions[] = {{"list", list}, {"show", show}, {"replay", replay}, {"drop", drop}};
    return ctl_run_action(ctl, actions, sizeof actions / sizeof actions[0], "list, show, replay and drop");
}
