/* SPDX-License-Identifier: Apache-2.0 */
/* Writes requests and checks that answers match them; see load_calls.h. */
#include "load_calls.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "load_pb.h"

#define REQUEST_ID_MAX (CALLS_RUN_MAX + 2 * (1 + PB_DECIMAL_MAX))
#define TICKETS_MAX    (INT64_C(1) << 30) /* per coupon: 128 MiB of bits */
#define WORDS_FIRST    1024               /* initial size of a coupon's bits */

_Static_assert(REQUEST_ID_MAX < 0x80, "its length takes a byte");
_Static_assert(REQUEST_ID_MAX + 4 + 2 * PB_VARINT_MAX <= H2_REQUEST_MAX, "fits");

/* toy.v1.Note { string text = 1; int64 number = 2; } with a text and 1234567. It is as large as rpc_load's note. */
static const uint8_t NOTE[] = "\x0a\x20"
                              "0123456789abcdef0123456789abcdef"
                              "\x10\x87\xad\x4b";
#define NOTE_LEN (sizeof NOTE - 1)

void calls_init(struct calls *calls) {
    calls->tickets = calls->is_echo ? NULL : memory_new((size_t)calls->n_coupons, sizeof *calls->tickets);
}

void calls_deinit(struct calls *calls) {
    for (int64_t i = 0; calls->tickets && i < calls->n_coupons; i++)
        free(calls->tickets[i].bits);
    free(calls->tickets);
    calls->tickets = NULL;
}

/* --- requests --- */

static int64_t coupon_of(const struct calls *calls, int64_t number) {
    return calls->first_coupon + number % calls->n_coupons;
}

static int64_t user_of(const struct calls *calls, int64_t number) {
    return calls->first_user + number / calls->n_coupons;
}

static size_t put_request_id(const struct calls *calls, int64_t number, uint8_t out[static REQUEST_ID_MAX]) {
    size_t n_run = strlen(calls->run);
    memcpy(out, calls->run, n_run);
    uint8_t *at = out + n_run;
    *at++ = '-';
    at = pb_put_decimal(at, coupon_of(calls, number));
    *at++ = '-';
    at = pb_put_decimal(at, user_of(calls, number));
    return (size_t)(at - out);
}

size_t calls_write(const struct calls *calls, int64_t number, uint8_t *out) {
    if (calls->is_echo) {
        memcpy(out, NOTE, NOTE_LEN);
        return NOTE_LEN;
    }
    uint8_t *at = out;
    *at++ = 1 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)coupon_of(calls, number));
    *at++ = 2 << 3 | PB_VARINT;
    at = pb_put_varint(at, (uint64_t)user_of(calls, number));
    *at++ = 3 << 3 | PB_BYTES;
    size_t n = put_request_id(calls, number, at + 1);
    *at = (uint8_t)n;
    return (size_t)(at + 1 + n - out);
}

/* --- messages --- */

static bool read_status(struct pb in, struct calls_status *status) {
    struct pb_field field = {0};
    while (in.at < in.end) {
        if (!pb_next(&in, &field))
            return false;
        bool is_varint = field.type == PB_VARINT;
        if (field.number == 1 && is_varint)
            status->coupon_id = (int64_t)field.varint;
        else if (field.number == 2 && is_varint)
            status->user_id = (int64_t)field.varint;
        else if (field.number == 3 && field.type == PB_BYTES)
            status->request_id = field.bytes;
        else if (field.number == 4 && is_varint)
            status->state = (int64_t)field.varint;
        else if (field.number == 5 && is_varint)
            status->ticket = (int64_t)field.varint;
    }
    return true;
}

bool calls_read_response(struct pb in, struct calls_status *ret_status) {
    struct calls_status status = {0};
    struct pb_field field;
    while (in.at < in.end)
        if (!pb_next(&in, &field) ||
            (field.number == 1 && field.type == PB_BYTES && !read_status(field.bytes, &status)))
            return false;
    *ret_status = status;
    return true;
}

static const char *contradiction_of(const struct calls *calls, int64_t number, const struct calls_status *status) {
    if (status->coupon_id != coupon_of(calls, number))
        return "it is for another coupon";
    if (status->user_id != user_of(calls, number))
        return "it is for another user";
    uint8_t id[REQUEST_ID_MAX];
    size_t n = put_request_id(calls, number, id);
    if ((size_t)(status->request_id.end - status->request_id.at) != n ||
        (n && memcmp(status->request_id.at, id, n) != 0))
        return "it is for another request";
    if (status->state == CALLS_REJECTED)
        return NULL;
    if (status->state != CALLS_ACCEPTED && status->state != CALLS_ISSUED)
        return "its state is not allowed in an answer";
    if (status->ticket < 1 || status->ticket > TICKETS_MAX)
        return "its ticket is invalid";
    return NULL;
}

void calls_on_message(const struct calls *calls, struct h2_call *call, const uint8_t *message, size_t n) {
    if (calls->is_echo) {
        if (n != NOTE_LEN || memcmp(message, NOTE, n) != 0)
            call->contradiction = "it is not the message that was sent";
        return;
    }
    struct calls_status status;
    if (!calls_read_response((struct pb){message, message + n}, &status)) {
        call->contradiction = "it is malformed";
        return;
    }
    call->contradiction = contradiction_of(calls, call->number, &status);
    call->ticket = status.ticket;
    call->state = (int32_t)status.state;
}

/* --- answers --- */

/* Returns false if the ticket was taken before. */
static bool take_ticket(struct calls_tickets *tickets, int64_t ticket) {
    size_t word = (size_t)ticket / 64;
    if (word >= tickets->n_words) {
        size_t n = tickets->n_words ? tickets->n_words : WORDS_FIRST;
        while (n <= word)
            n *= 2;
        tickets->bits = memory_resize(tickets->bits, n, sizeof *tickets->bits);
        memset(tickets->bits + tickets->n_words, 0, (n - tickets->n_words) * sizeof *tickets->bits);
        tickets->n_words = n;
    }
    uint64_t bit = UINT64_C(1) << ticket % 64;
    bool is_new = !(tickets->bits[word] & bit);
    tickets->bits[word] |= bit;
    return is_new;
}

/* Returns the outcome of an answer with a message and status OK. */
static const char *outcome_of_message(struct calls *calls, const struct h2_call *call, const char **contradiction) {
    if (*contradiction || calls->is_echo)
        return "OK";
    if (call->state == CALLS_REJECTED)
        return "REJECTED";
    if (!take_ticket(&calls->tickets[call->number % calls->n_coupons], call->ticket))
        *contradiction = "another answer has the same ticket";
    if (call->ticket > calls->max_ticket)
        calls->max_ticket = call->ticket;
    return "OK";
}

/* `room` is a buffer for a name that has no constant. */
static const char *outcome_of(struct calls *calls, const struct h2_call *call, const struct h2_answer *answer,
                              char room[static HPACK_REASON_SIZE], const char **contradiction) {
    const struct hpack_head *head = answer->head;
    if (answer->is_reset) {
        snprintf(room, HPACK_REASON_SIZE, "RST_STREAM_%u", answer->reset_code);
        return room;
    }
    if (call->http_status != 200) {
        snprintf(room, HPACK_REASON_SIZE, "HTTP_%u", call->http_status);
        return room;
    }
    if (!head || head->grpc_status == HPACK_NO_GRPC_STATUS) {
        *contradiction = "it has no grpc-status";
        return "NO_STATUS";
    }
    if (head->grpc_status == 0 && call->n_messages > 0)
        return outcome_of_message(calls, call, contradiction);
    if (head->grpc_status == 0) {
        *contradiction = "it is OK but has no message";
        return "OK";
    }
    if (call->n_messages > 0)
        *contradiction = "it has both a message and an error";
    if (head->reason[0])
        return head->reason;
    snprintf(room, HPACK_REASON_SIZE, "%d", head->grpc_status);
    return room;
}

static void count_outcome(struct calls *calls, const char *name) {
    size_t i = 0;
    while (i < calls->n_outcomes && strcmp(calls->outcomes[i].name, name) != 0)
        i++;
    if (i == CALLS_OUTCOMES_MAX) {
        i--;
        snprintf(calls->outcomes[i].name, sizeof calls->outcomes[i].name, "others");
    } else if (i == calls->n_outcomes) {
        calls->n_outcomes++;
        snprintf(calls->outcomes[i].name, sizeof calls->outcomes[i].name, "%s", name);
    }
    calls->outcomes[i].n++;
}

static void note_contradiction(struct calls *calls, const struct h2_call *call, const char *contradiction) {
    if (calls->n_bad++ > 0)
        return;
    char which[64] = "";
    if (!calls->is_echo)
        snprintf(which, sizeof which, " (coupon %lld, user %lld)", (long long)coupon_of(calls, call->number),
                 (long long)user_of(calls, call->number));
    snprintf(calls->contradiction, sizeof calls->contradiction, "the answer to request %lld%s contradicts: %s",
             (long long)call->number, which, contradiction);
}

static void write_log(struct calls *calls, const struct h2_call *call, const char *outcome) {
    uint8_t line[3 * (PB_DECIMAL_MAX + 1) + REQUEST_ID_MAX + 1 + HPACK_REASON_SIZE + 1], *at = line;
    at = pb_put_decimal(at, coupon_of(calls, call->number));
    *at++ = ' ';
    at = pb_put_decimal(at, user_of(calls, call->number));
    *at++ = ' ';
    at += put_request_id(calls, call->number, at);
    *at++ = ' ';
    size_t n = strlen(outcome);
    memcpy(at, outcome, n);
    at += n;
    *at++ = ' ';
    at = pb_put_decimal(at, call->ticket);
    *at++ = '\n';
    fwrite(line, 1, (size_t)(at - line), calls->log);
}

void calls_on_answer(struct calls *calls, const struct h2_call *call, const struct h2_answer *answer, int64_t now_us) {
    char room[HPACK_REASON_SIZE];
    const char *contradiction = call->contradiction;
    const char *outcome = outcome_of(calls, call, answer, room, &contradiction);
    count_outcome(calls, outcome);
    calls->n_answers++;
    calls->last_us = now_us;
    histogram_add(&calls->all, now_us - call->begin_us);
    if (calls->lately)
        histogram_add(calls->lately, now_us - call->begin_us);
    if (contradiction) {
        note_contradiction(calls, call, contradiction);
    } else if (strcmp(outcome, "OK") == 0) {
        calls->n_accepted++;
        histogram_add(&calls->accepted, now_us - call->begin_us);
    }
    if (calls->log)
        write_log(calls, call, outcome);
}
