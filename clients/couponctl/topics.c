/* SPDX-License-Identifier: Apache-2.0 */
/* The verb topics, on TopicAdminService. Its first operand is the action:
 *
 *   list (the default)   migrate --to VERSION   pause   delete VERSION   retire COUPON */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "ctl.h"
#include "output.h"

/* Interval between two looks at a migration, while topics migrate waits for it. */
#define LOOK_EVERY_US (200 * US_PER_MS)

const struct option_spec topics_options[] = {
    {"to", "VERSION", "migrate: version to which the lanes publish afterwards, e.g. v2"},
    {"partitions", "N", "migrate: partitions of each topic of a new version"},
    {"no-wait", NULL, "migrate: do not wait until all lanes have moved"},
    {0},
};

/* Reads "v2" or "2". `text` may be NULL. */
static bool read_version(const struct args *args, const char *text, int32_t *ret) {
    char *end;
    const char *digits = text && *text == 'v' ? text + 1 : text;
    long value = digits ? strtol(digits, &end, 10) : 0;
    if (!digits) {
        args_refuse(args, "topics %s needs a version, e.g. v2", args->operands[0]);
        return false;
    }
    if (end == digits || *end || value < 1 || value > INT32_MAX) {
        args_refuse(args, "\"%s\" is not a version: give v1, v2, …", text);
        return false;
    }
    *ret = (int32_t)value;
    return true;
}

static int list(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__ListTopicsRequest request = COUPON__V1__LIST_TOPICS_REQUEST__INIT;
    int exit_code = EXIT_OK;
    Coupon__V1__ListTopicsResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (!response)
        return exit_code;
    print_topic_header(ctl->json);
    for (size_t i = 0; i < response->n_topics; i++)
        print_topic(response->topics[i], ctl->json);
    if (response->migration)
        print_migration(response->migration, ctl->json);
    coupons_free(response);
    return exit_code;
}

static bool is_there(const Coupon__V1__Migration *migration) {
    return migration->lanes_moved == migration->lanes;
}

/* Prints a line for each step, until all lanes have moved, or until the migration is paused or gets another target. */
static int follow(struct ctl *ctl, struct remote *remote, int32_t version, int32_t last_moved) {
    Coupon__V1__ListTopicsRequest request = COUPON__V1__LIST_TOPICS_REQUEST__INIT;
    for (;;) {
        int exit_code = EXIT_OK;
        Coupon__V1__ListTopicsResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
        if (!response)
            return exit_code;
        Coupon__V1__Migration nothing = COUPON__V1__MIGRATION__INIT;
        const Coupon__V1__Migration *migration = response->migration ? response->migration : &nothing;
        bool changed = migration->target_version != version || migration->paused;
        bool done = is_there(migration);
        if (migration->lanes_moved != last_moved || changed)
            print_migration(migration, ctl->json);
        last_moved = migration->lanes_moved;
        coupons_free(response);
        if (done && !changed)
            return EXIT_OK;
        if (changed)
            return EXIT_REFUSED; /* somebody else paused it, or set another target */
        clock_sleep_us(LOOK_EVERY_US);
    }
}

static int migrate(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__MigrateTopicsRequest request = COUPON__V1__MIGRATE_TOPICS_REQUEST__INIT;
    int64_t partitions = 0;
    if (!args_flag(ctl->args, "to"))
        return args_refuse(ctl->args, "topics migrate needs --to VERSION, e.g. --to v2 --partitions 16");
    if (!read_version(ctl->args, args_text(ctl->args, "to"), &request.version) ||
        !args_int(ctl->args, "partitions", 1, 1000, &partitions))
        return EXIT_USAGE;
    request.partitions = (int32_t)partitions;
    int exit_code = EXIT_OK;
    Coupon__V1__MigrateTopicsResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (!response)
        return exit_code;
    int32_t moved = response->migration->lanes_moved;
    bool done = is_there(response->migration);
    print_migration(response->migration, ctl->json);
    coupons_free(response);
    return done || args_flag(ctl->args, "no-wait") ? EXIT_OK : follow(ctl, remote, request.version, moved);
}

static int pause_migration(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__PauseMigrationRequest request = COUPON__V1__PAUSE_MIGRATION_REQUEST__INIT;
    int exit_code = EXIT_OK;
    Coupon__V1__PauseMigrationResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (!response)
        return exit_code;
    print_migration(response->migration, ctl->json);
    coupons_free(response);
    return exit_code;
}

static int delete_version(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__DeleteTopicsRequest request = COUPON__V1__DELETE_TOPICS_REQUEST__INIT;
    if (!read_version(ctl->args, ctl->args->n_operands > 1 ? ctl->args->operands[1] : NULL, &request.version))
        return EXIT_USAGE;
    int exit_code = EXIT_OK;
    Coupon__V1__DeleteTopicsResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (!response)
        return exit_code;
    print_deleted(response->topics, response->n_topics, ctl->json);
    coupons_free(response);
    return exit_code;
}

static int retire(struct ctl *ctl, struct remote *remote) {
    Coupon__V1__RetireCouponTopicsRequest request = COUPON__V1__RETIRE_COUPON_TOPICS_REQUEST__INIT;
    if (ctl->args->n_operands < 2)
        return args_refuse(ctl->args, "topics retire needs the id of a coupon");
    if (!args_operand_int(ctl->args, 1, "COUPON", &request.coupon_id))
        return EXIT_USAGE;
    int exit_code = EXIT_OK;
    Coupon__V1__RetireCouponTopicsResponse *response = ctl_call(ctl, remote, &request.base, NULL, &exit_code);
    if (!response)
        return exit_code;
    print_deleted(response->topics, response->n_topics, ctl->json);
    coupons_free(response);
    return exit_code;
}

int verb_topics(struct ctl *ctl) {
    static const struct ctl_action actions[] = {{"list", list},
                                                {"migrate", migrate},
                                                {"pause", pause_migration},
                                                {"delete", delete_version},
                                                {"retire", retire}};
    return ctl_run_action(ctl, actions, sizeof actions / sizeof actions[0], "list, migrate, pause, delete and retire");
}
