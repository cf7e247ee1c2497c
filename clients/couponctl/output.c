/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what the service answers; see output.h. */
#include "output.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define COUPON_HEADER "%-10s %-11s %10s %10s %10s %-9s %8s  %-27s %-27s %s\n"
#define COUPON_ROW    "%-10lld %-11s %10lld %10lld %10lld %-9s %8.4g  %-27s %-27s %s\n"

/* --- names and times --- */

static const char *enum_name(const ProtobufCEnumDescriptor *descriptor, int value, const char *prefix) {
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, value);
    return found && strncmp(found->name, prefix, strlen(prefix)) == 0 ? found->name + strlen(prefix) : "?";
}

const char *state_name(Coupon__V1__PublishStatus__State state) {
    return enum_name(&coupon__v1__publish_status__state__descriptor, (int)state, "STATE_");
}

const char *reject_reason_name(Coupon__V1__RejectReason reason) {
    return enum_name(&coupon__v1__reject_reason__descriptor, (int)reason, "REJECT_REASON_");
}

static const char *coupon_status_name(Coupon__V1__Coupon__Status status) {
    return enum_name(&coupon__v1__coupon__status__descriptor, (int)status, "STATUS_");
}

int64_t timestamp_us(const Google__Protobuf__Timestamp *time) {
    int64_t whole;
    if (__builtin_mul_overflow(time->seconds, (int64_t)US_PER_S, &whole) || whole > INT64_MAX - US_PER_S)
        return INT64_MAX; /* printed as the latest time that an int64_t can hold */
    return whole + time->nanos / 1000;
}

Google__Protobuf__Timestamp timestamp_of(int64_t wall_us) {
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.seconds = wall_us / US_PER_S;
    int64_t rest = wall_us % US_PER_S;
    if (rest < 0) {
        rest += US_PER_S;
        time.seconds--;
    }
    time.nanos = (int32_t)(rest * 1000);
    return time;
}

static const char *time_text(const Google__Protobuf__Timestamp *time, char room[static 28]) {
    return time ? clock_format(timestamp_us(time), room) : "-";
}

void print_safely(FILE *out, const char *text) {
    struct strbuf safe = {0};
    strbuf_puts(&safe, text);
    for (char *at = safe.data; *at; at++)
        if (((unsigned char)*at < ' ' && *at != '\n') || *at == 0x7F)
            *at = '?';
    fputs(safe.data, out);
    strbuf_deinit(&safe);
}

/* --- JSON --- */

static void add_int(struct strbuf *out, const char *name, int64_t value) {
    strbuf_printf(out, "\"%s\":%lld,", name, (long long)value);
}

static void add_text(struct strbuf *out, const char *name, const char *text) {
    strbuf_printf(out, "\"%s\":", name);
    strbuf_json(out, text);
    strbuf_puts(out, ",");
}

static void add_time(struct strbuf *out, const char *name, const Google__Protobuf__Timestamp *time) {
    char room[28];
    if (time)
        add_text(out, name, time_text(time, room));
}

/* Adds the shortest text that reads back as the same number. */
static void add_double(struct strbuf *out, const char *name, double value) {
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (back >= value && back <= value)
            break;
    }
    bool is_finite = value - value >= 0; /* JSON has no infinities and no NaN */
    strbuf_printf(out, "\"%s\":%s,", name, is_finite ? text : "null");
}

static void print_object(struct strbuf *members) {
    members->data[members->len - 1] = '}'; /* instead of the last comma */
    printf("{%s\n", members->data);
    fflush(stdout);
    strbuf_deinit(members);
}

static void print_coupon_json(const Coupon__V1__Coupon *coupon) {
    struct strbuf out = {0};
    add_int(&out, "id", coupon->id);
    add_text(&out, "name", coupon->name);
    add_int(&out, "quantity", coupon->quantity);
    add_int(&out, "accepted", coupon->accepted);
    add_int(&out, "issued", coupon->issued);
    add_text(&out, "status", coupon_status_name(coupon->status));
    add_double(&out, "discount_rate", coupon->discount_rate);
    add_time(&out, "open_time", coupon->open_time);
    add_time(&out, "expire_time", coupon->expire_time);
    add_time(&out, "create_time", coupon->create_time);
    strbuf_printf(&out, "\"available\":%s,", coupon->available ? "true" : "false");
    print_object(&out);
}

static void print_status_json(const Coupon__V1__PublishStatus *status) {
    struct strbuf out = {0};
    add_int(&out, "coupon_id", status->coupon_id);
    add_int(&out, "user_id", status->user_id);
    add_text(&out, "request_id", status->request_id);
    add_text(&out, "state", state_name(status->state));
    add_int(&out, "ticket", status->ticket);
    add_time(&out, "accept_time", status->accept_time);
    add_time(&out, "issue_time", status->issue_time);
    if (status->reject_reason != COUPON__V1__REJECT_REASON__REJECT_REASON_UNSPECIFIED)
        add_text(&out, "reject_reason", reject_reason_name(status->reject_reason));
    print_object(&out);
}

static void print_user_coupon_json(const Coupon__V1__UserCoupon *coupon) {
    struct strbuf out = {0};
    add_int(&out, "coupon_id", coupon->coupon_id);
    add_int(&out, "user_id", coupon->user_id);
    add_int(&out, "ticket", coupon->ticket);
    add_time(&out, "issue_time", coupon->issue_time);
    print_object(&out);
}

/* --- for people --- */

static void print_line(struct strbuf *line) {
    print_safely(stdout, line->data);
    fflush(stdout);
    strbuf_deinit(line);
}

void print_coupon_header(bool json) {
    if (!json)
        printf(COUPON_HEADER, "ID", "STATUS", "QUANTITY", "ACCEPTED", "ISSUED", "AVAILABLE", "DISCOUNT", "OPEN",
               "EXPIRE", "NAME");
}

void print_coupon(const Coupon__V1__Coupon *coupon, bool json) {
    if (json) {
        print_coupon_json(coupon);
        return;
    }
    char open[28], expire[28];
    struct strbuf line = {0};
    strbuf_printf(&line, COUPON_ROW, (long long)coupon->id, coupon_status_name(coupon->status),
                  (long long)coupon->quantity, (long long)coupon->accepted, (long long)coupon->issued,
                  coupon->available ? "yes" : "no", coupon->discount_rate, time_text(coupon->open_time, open),
                  time_text(coupon->expire_time, expire), coupon->name);
    print_line(&line);
}

void print_status(const Coupon__V1__PublishStatus *status, bool json) {
    if (json) {
        print_status_json(status);
        return;
    }
    char room[28];
    struct strbuf line = {0};
    strbuf_printf(&line, "%s  coupon %lld  user %lld  ticket %lld", state_name(status->state),
                  (long long)status->coupon_id, (long long)status->user_id, (long long)status->ticket);
    if (status->accept_time)
        strbuf_printf(&line, "  accepted %s", time_text(status->accept_time, room));
    if (status->issue_time)
        strbuf_printf(&line, "  issued %s", time_text(status->issue_time, room));
    if (status->reject_reason != COUPON__V1__REJECT_REASON__REJECT_REASON_UNSPECIFIED)
        strbuf_printf(&line, "  because %s", reject_reason_name(status->reject_reason));
    strbuf_printf(&line, "  request_id %s\n", status->request_id);
    print_line(&line);
}

void print_user_coupon_header(bool json) {
    if (!json)
        printf("%-10s %-10s %10s  %s\n", "COUPON", "USER", "TICKET", "ISSUED");
}

void print_user_coupon(const Coupon__V1__UserCoupon *coupon, bool json) {
    if (json) {
        print_user_coupon_json(coupon);
        return;
    }
    char room[28];
    printf("%-10lld %-10lld %10lld  %s\n", (long long)coupon->coupon_id, (long long)coupon->user_id,
           (long long)coupon->ticket, time_text(coupon->issue_time, room));
}

/* --- topics --- */

#define TOPIC_HEADER "%-9s %10s %5s %10s  %s\n"
#define TOPIC_ROW    "%-9s %10d %5d %10lld  %s%s\n"

static const char *topic_state_name(Coupon__V1__Topic__State state) {
    return enum_name(&coupon__v1__topic__state__descriptor, (int)state, "STATE_");
}

void print_topic_header(bool json) {
    if (!json)
        printf(TOPIC_HEADER, "STATE", "PARTITIONS", "LANES", "LAG", "TOPIC");
}

static bool is_grown(const Coupon__V1__Topic *topic) {
    return topic->partitions && topic->created_partitions && topic->partitions != topic->created_partitions;
}

void print_topic(const Coupon__V1__Topic *topic, bool json) {
    struct strbuf out = {0};
    if (json) {
        add_text(&out, "topic", topic->name);
        add_text(&out, "stream", enum_name(&coupon__v1__topic__stream__descriptor, (int)topic->stream, "STREAM_"));
        add_int(&out, "version", topic->version);
        add_int(&out, "coupon_id", topic->coupon_id);
        add_text(&out, "state", topic_state_name(topic->state));
        add_int(&out, "partitions", topic->partitions);
        add_int(&out, "created_partitions", topic->created_partitions);
        add_int(&out, "lanes", topic->lanes);
        add_int(&out, "lag", topic->lag);
        print_object(&out);
        return;
    }
    char grown[60] = "";
    if (is_grown(topic))
        snprintf(grown, sizeof grown, "  (created with %d partitions)", topic->created_partitions);
    strbuf_printf(&out, TOPIC_ROW, topic_state_name(topic->state), topic->partitions, topic->lanes,
                  (long long)topic->lag, topic->name, grown);
    print_line(&out);
}

void print_migration(const Coupon__V1__Migration *migration, bool json) {
    struct strbuf out = {0};
    if (json) {
        add_int(&out, "target_version", migration->target_version);
        add_int(&out, "lanes", migration->lanes);
        add_int(&out, "lanes_moved", migration->lanes_moved);
        strbuf_printf(&out, "\"paused\":%s,", migration->paused ? "true" : "false");
        print_object(&out);
        return;
    }
    strbuf_printf(&out, "%d of %d lanes publish to v%d%s\n", migration->lanes_moved, migration->lanes,
                  migration->target_version, migration->paused ? "; paused: topics migrate continues it" : "");
    print_line(&out);
}

void print_deleted(char *const *topics, size_t n, bool json) {
    for (size_t i = 0; i < n; i++) {
        struct strbuf out = {0};
        if (json) {
            add_text(&out, "deleted", topics[i]);
            print_object(&out);
        } else {
            strbuf_printf(&out, "deleted %s\n", topics[i]);
            print_line(&out);
        }
    }
}

/* --- dead letters and checks --- */

#define LETTER_HEADER "%-10s %-27s %-8s %10s %9s %10s  %s\n"
#define LETTER_ROW    "%-10lld %-27s %-8s %10lld %9d %10lld  %s: %s\n"

void print_dead_letter_header(bool json) {
    if (!json)
        printf(LETTER_HEADER, "ID", "PUT ASIDE", "REPLAYED", "COUPON", "PARTITION", "OFFSET", "TOPIC: REASON");
}

static void add_hex(struct strbuf *out, const ProtobufCBinaryData *bytes) {
    for (size_t i = 0; i < bytes->len; i++)
        strbuf_printf(out, "%02x", bytes->data[i]);
}

static void print_dead_letter_json(const Coupon__V1__DeadLetter *letter, bool whole) {
    struct strbuf out = {0};
    add_int(&out, "id", letter->id);
    add_text(&out, "topic", letter->topic);
    add_int(&out, "partition", letter->partition);
    add_int(&out, "offset", letter->offset);
    add_int(&out, "coupon_id", letter->coupon_id);
    add_text(&out, "reason", letter->reason);
    add_int(&out, "value_size", letter->value_size);
    add_time(&out, "create_time", letter->create_time);
    add_time(&out, "replay_time", letter->replay_time);
    if (whole) {
        strbuf_puts(&out, "\"key\":\"");
        add_hex(&out, &letter->key);
        strbuf_puts(&out, "\",\"value\":\"");
        add_hex(&out, &letter->value);
        strbuf_puts(&out, "\",");
    }
    print_object(&out);
}

void print_dead_letter(const Coupon__V1__DeadLetter *letter, bool json) {
    if (json) {
        print_dead_letter_json(letter, false);
        return;
    }
    char room[28];
    struct strbuf line = {0};
    strbuf_printf(&line, LETTER_ROW, (long long)letter->id, time_text(letter->create_time, room),
                  letter->replay_time ? "yes" : "no", (long long)letter->coupon_id, letter->partition,
                  (long long)letter->offset, letter->topic, letter->reason);
    print_line(&line);
}

void print_dead_letter_whole(const Coupon__V1__DeadLetter *letter, bool json) {
    if (json) {
        print_dead_letter_json(letter, true);
        return;
    }
    char created[28], replayed[28];
    struct strbuf out = {0};
    strbuf_printf(
        &out,
        "id          %lld\ntopic       %s\npartition   %d\noffset      %lld\nreason      %s\ncoupon      %lld\n"
        "put aside   %s\nreplayed    %s\nkey         ",
        (long long)letter->id, letter->topic, letter->partition, (long long)letter->offset, letter->reason,
        (long long)letter->coupon_id, time_text(letter->create_time, created),
        time_text(letter->replay_time, replayed));
    add_hex(&out, &letter->key);
    strbuf_printf(&out, "\nvalue       %lld bytes%s\n", (long long)letter->value_size,
                  letter->value_size > (int64_t)letter->value.len ? ", of which couponsd kept these" : "");
    add_hex(&out, &letter->value);
    strbuf_puts(&out, "\n");
    print_line(&out);
}

void print_replay(const Coupon__V1__Replay *replay, bool json) {
    struct strbuf out = {0};
    const char *outcome = enum_name(&coupon__v1__replay__outcome__descriptor, (int)replay->outcome, "OUTCOME_");
    if (json) {
        add_int(&out, "id", replay->id);
        add_text(&out, "outcome", outcome);
        add_text(&out, "detail", replay->detail);
        print_object(&out);
        return;
    }
    strbuf_printf(&out, "%-10lld %-8s  %s\n", (long long)replay->id, outcome, replay->detail);
    print_line(&out);
}

void print_check(const Coupon__V1__Check *check, bool json) {
    struct strbuf out = {0};
    const char *result = enum_name(&coupon__v1__check__result__descriptor, (int)check->result, "RESULT_");
    if (json) {
        add_text(&out, "check", check->name);
        add_text(&out, "result", result);
        add_text(&out, "detail", check->detail);
        print_object(&out);
        return;
    }
    strbuf_printf(&out, "%-8s %-17s %s\n", result, check->name, check->detail);
    print_line(&out);
}
