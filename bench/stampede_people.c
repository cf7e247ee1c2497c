/* SPDX-License-Identifier: Apache-2.0 */
/* The timetable, the requests, and the checks; see stampede_people.h. */
#include "stampede_people.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define ID_MAX 64
/* Users do not come in the order of their numbers. This prime shares no factor with a number of people below it. */
#define SHUFFLE        INT64_C(2147483647)
#define BISECTIONS     50
#define UNAVAILABLE    14
#define EXHAUSTED      8
#define RANDOM_FIRST   0x9E3779B97F4A7C15u
#define LATEST_IN_PEAK 40 /* the timetable ends before: exp(-40) of the people are left */

static const char *const ANSWERS[] = {"NONE", "OK", "SOLD_OUT", "ALREADY_REQUESTED", "WRONG"};
static const char *const KINDS[] = {"first", "second", "repeat"};

/* xorshift64* */
uint64_t people_random(struct people *people) {
    people->random ^= people->random >> 12;
    people->random ^= people->random << 25;
    people->random ^= people->random >> 27;
    return people->random * 0x2545F4914F6CDD1Du;
}

/* --- the timetable --- */

/* Returns when, in units of the peak's time, `share` of the people have pressed. */
static double time_of(double share) {
    double low = 0, high = LATEST_IN_PEAK;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;
        if (1 - (1 + middle) * exp(-middle) < share)
            low = middle;
        else
            high = middle;
    }
    return high;
}

void people_init(struct people *people, int64_t noon_us, double peak_us) {
    people->random = RANDOM_FIRST;
    people->first_no_us = INT64_MAX;
    people->presses = memory_new((size_t)people->n_people, sizeof *people->presses);
    people->n_presses = people->room = people->n_people;
    for (int64_t i = 0; i < people->n_people; i++) {
        double share = ((double)i + 0.5) / (double)people->n_people;
        people->presses[i] = (struct press){.person = (int32_t)i,
                                            .next = -1,
                                            .due_us = noon_us + (int64_t)(time_of(share) * peak_us),
                                            .since_us = INT64_MAX};
    }
}

void people_deinit(struct people *people) {
    free(people->presses);
    people->presses = NULL;
}

int64_t people_add(struct people *people, int64_t of, enum press_kind kind, int64_t due_us) {
    int64_t n = people->n_presses;
    if (n == people->room) {
        people->room += people->n_people / 16 + 1;
        people->presses = memory_resize(people->presses, (size_t)people->room, sizeof *people->presses);
    }
    people->presses[n] = (struct press){.person = people->presses[of].person,
                                        .connection = people->presses[of].connection,
                                        .kind = (uint8_t)kind,
                                        .next = -1,
                                        .due_us = due_us,
                                        .since_us = INT64_MAX};
    return people->n_presses++;
}

/* --- requests and answers --- */

static int64_t user_of(const struct people *people, const struct press *press) {
    return people->first_user + press->person * (SHUFFLE % people->n_people) % people->n_people;
}

static size_t put_id(const struct people *people, const struct press *press, uint8_t out[static ID_MAX]) {
    return (size_t)snprintf((char *)out, ID_MAX, "%s-%lld-%d", people->run, (long long)user_of(people, press),
                            press->kind == PRESS_SECOND ? 2 : 1);
}

size_t people_write(const struct people *people, const struct press *press, uint8_t *out) {
    uint8_t *at = out, id[ID_MAX];
    size_t n = put_id(people, press, id);
    *at++ = 1 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)people->coupon);
    *at++ = 2 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)user_of(people, press));
    *at++ = 3 << 3 | PB_BYTES;
    at = pb_put_varint(at, n);
    memcpy(at, id, n);
    return (size_t)(at + n - out);
}

__attribute__((format(printf, 3, 4))) static void contradict(struct people *people, const struct press *press,
                                                             const char *format, ...) {
    if (people->n_bad++ > 0)
        return;
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(people->contradiction, sizeof people->contradiction, "user %lld, %s press: %s",
             (long long)user_of(people, press), KINDS[press->kind], text);
}

void people_on_message(const struct people *people, struct press *press, struct pb message) {
    struct calls_status status;
    uint8_t id[ID_MAX];
    size_t n = put_id(people, press, id);
    if (!calls_read_response(message, &status))
        press->contradiction = "the answer is malformed";
    else if (status.coupon_id != people->coupon || status.user_id != user_of(people, press) ||
             (size_t)(status.request_id.end - status.request_id.at) != n || memcmp(status.request_id.at, id, n) != 0)
        press->contradiction = "the answer is for another request";
    else if (status.state != CALLS_ACCEPTED && status.state != CALLS_ISSUED)
        press->contradiction = "its state is not allowed in an answer";
    press->ticket = status.ticket;
}

bool people_on_answer(struct people *people, struct press *press, const struct h2_call *call,
                      const struct h2_answer *answer, int64_t *ret_retry_ms) {
    const struct hpack_head *head = answer->head;
    press->answer = PRESS_WRONG;
    if (answer->is_reset || !head || call->http_status != 200) {
        contradict(people, press, "%s %u", answer->is_reset ? "RST_STREAM" : "HTTP",
                   answer->is_reset ? answer->reset_code : call->http_status);
    } else if (head->grpc_status == 0) {
        if (call->n_messages == 1 && !press->contradiction)
            press->answer = PRESS_OK;
        else
            contradict(people, press, "%s", press->contradiction ? press->contradiction : "OK without a message");
    } else if ((head->grpc_status == EXHAUSTED || head->grpc_status == UNAVAILABLE) && head->retry_ms >= 0) {
        if (head->grpc_status == EXHAUSTED) /* surely not accepted */
            press->since_us = INT64_MAX;
        press->answer = PRESS_NONE;
        *ret_retry_ms = head->retry_ms;
        return false;
    } else if (strcmp(head->reason, ANSWERS[PRESS_SOLD_OUT]) == 0) {
        press->answer = PRESS_SOLD_OUT;
    } else if (strcmp(head->reason, ANSWERS[PRESS_ALREADY]) == 0) {
        press->answer = PRESS_ALREADY;
    } else {
        contradict(people, press, "grpc-status %d, %s", head->grpc_status, head->reason);
    }
    return true;
}

void people_end(struct people *people, struct press *press, int64_t now_us) {
    press->end_us = now_us;
    people->n_ended++;
    if (press->answer == PRESS_SOLD_OUT && now_us < people->first_no_us)
        people->first_no_us = now_us;
    if (press->kind == PRESS_REPEAT) {
        people->n_repeats++;
        histogram_add(&people->repeats, now_us - press->due_us);
        return;
    }
    people->n_answers[press->answer]++;
    histogram_add(press->answer == PRESS_OK ? &people->yes : &people->no, now_us - press->due_us);
}

/* --- checks --- */

/* Finds the winning press of each person. Returns person → its index, or -1. */
static int32_t *find_winners(struct people *people) {
    int32_t *winners = memory_new((size_t)people->n_people, sizeof *winners);
    for (int64_t i = 0; i < people->n_people; i++)
        winners[i] = -1;
    for (int64_t i = 0; i < people->n_presses; i++) {
        const struct press *press = &people->presses[i];
        if (press->kind == PRESS_REPEAT || press->answer != PRESS_OK)
            continue;
        if (winners[press->person] >= 0)
            contradict(people, press, "has two tickets, %lld and %lld",
                       (long long)people->presses[winners[press->person]].ticket, (long long)press->ticket);
        winners[press->person] = (int32_t)i;
        people->n_winners++;
        if (press->ticket > people->max_ticket)
            people->max_ticket = press->ticket;
    }
    return winners;
}

/* All presses of a winner but the winning one are ALREADY_REQUESTED, a repeat of it is OK with the same ticket, and all
 * presses of the others are SOLD_OUT. */
static void check_press(struct people *people, const struct press *press, const struct press *winner) {
    if (press == winner || press->answer == PRESS_WRONG) /* the latter are counted already */
        return;
    if (press->answer == PRESS_NONE)
        contradict(people, press, "has no final answer");
    else if (!winner && press->answer != PRESS_SOLD_OUT)
        contradict(people, press, "%s, although the person has no ticket", ANSWERS[press->answer]);
    else if (winner && press->kind == PRESS_REPEAT && winner->kind == PRESS_FIRST &&
             (press->answer != PRESS_OK || press->ticket != winner->ticket))
        contradict(people, press, "%s, ticket %lld, although the answer was ticket %lld", ANSWERS[press->answer],
                   (long long)press->ticket, (long long)winner->ticket);
    else if (winner && (press->kind != PRESS_REPEAT || winner->kind != PRESS_FIRST) && press->answer != PRESS_ALREADY)
        contradict(people, press, "%s, although the person has ticket %lld", ANSWERS[press->answer],
                   (long long)winner->ticket);
}

/* Each ticket from 1 to the number of winners was given once, a person who was answered before another one asked has
 * the lower ticket, and nobody who asked after somebody was told SOLD_OUT has one. */
static void check_tickets(struct people *people, const int32_t *winners) {
    const struct press **by_ticket = memory_new((size_t)people->n_winners + 1, sizeof *by_ticket);
    for (int64_t i = 0; i < people->n_people; i++) {
        const struct press *press = winners[i] >= 0 ? &people->presses[winners[i]] : NULL;
        if (!press)
            continue;
        if (press->ticket < 1 || press->ticket > people->n_winners || by_ticket[press->ticket])
            contradict(people, press, "ticket %lld is beyond %lld or was given twice", (long long)press->ticket,
                       (long long)people->n_winners);
        else
            by_ticket[press->ticket] = press;
        if (press->since_us > people->first_no_us)
            contradict(people, press, "has ticket %lld, but asked after somebody was told SOLD_OUT",
                       (long long)press->ticket);
    }
    int64_t earliest_us = INT64_MAX; /* the earliest answer to those with higher tickets */
    for (int64_t ticket = people->n_winners; ticket > 0; ticket--) {
        const struct press *press = by_ticket[ticket];
        if (!press)
            continue;
        if (press->since_us > earliest_us)
            contradict(people, press, "ticket %lld, but a higher one was answered before this person asked",
                       (long long)ticket);
        if (press->end_us < earliest_us)
            earliest_us = press->end_us;
    }
    free(by_ticket);
}

void people_check(struct people *people) {
    int32_t *winners = find_winners(people);
    for (int64_t i = 0; i < people->n_presses; i++) {
        const struct press *press = &people->presses[i];
        check_press(people, press, winners[press->person] < 0 ? NULL : &people->presses[winners[press->person]]);
    }
    check_tickets(people, winners);
    free(winners);
}

bool people_write_log(const struct people *people, const char *path) {
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    for (int64_t i = 0; i < people->n_presses; i++) {
        const struct press *press = &people->presses[i];
        uint8_t id[ID_MAX];
        put_id(people, press, id);
        fprintf(file, "%lld %s %s %s %lld\n", (long long)user_of(people, press), (const char *)id, KINDS[press->kind],
                ANSWERS[press->answer], (long long)press->ticket);
    }
    bool is_well = !ferror(file);
    return fclose(file) == 0 && is_well;
}
