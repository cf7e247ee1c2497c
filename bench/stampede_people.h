/* SPDX-License-Identifier: Apache-2.0 */
/* The people of bench_stampede: when they press, what they are told, and whether that is right.
 *
 * A press is one wish of one person under one request id. It is called again, with the same id, as long as the server
 * says so (RetryInfo). Each person presses once, by a timetable; some press a second time with another id, soon after
 * the first press; some repeat their first press with the same id, some time after its answer.
 *
 * Times are in microseconds since the beginning of the run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "histogram.h"
#include "load_calls.h"

enum press_kind { PRESS_FIRST, PRESS_SECOND, PRESS_REPEAT };
enum press_answer { PRESS_NONE, PRESS_OK, PRESS_SOLD_OUT, PRESS_ALREADY, PRESS_WRONG };

struct press {
    int32_t person, connection;
    uint8_t kind, answer;
    int32_t next;     /* of those that wait for the connection; -1: none */
    int64_t due_us;   /* by the timetable */
    int64_t since_us; /* begin of the earliest call that may have been accepted */
    int64_t end_us;   /* of the final answer */
    int64_t ticket;
    const char *contradiction;
};

struct people {
    int64_t coupon, n_people, first_user;
    const char *run;
    double second_share, repeat_share; /* of the people */
    uint64_t random;

    struct press *presses; /* the first presses in the order of the timetable, then the others */
    int64_t n_presses, room, n_ended;
    int64_t n_answers[PRESS_WRONG + 1]; /* final ones, without repeats */
    int64_t n_repeats, n_bad;
    int64_t n_winners, max_ticket, first_no_us; /* first_no_us: INT64_MAX if there was none */
    char contradiction[256];                    /* the first */
    struct histogram yes, no, repeats;          /* from due_us to the final answer */
};

uint64_t people_random(struct people *people); /* cheap, and the same in each run */

/* Makes the first presses: at noon_us + t with the density t * exp(-t / peak_us), which is highest at peak_us. */
void people_init(struct people *people, int64_t noon_us, double peak_us);
void people_deinit(struct people *people);
/* Adds a press of the same person. Returns its index. Pointers to presses become invalid. */
int64_t people_add(struct people *people, int64_t of, enum press_kind kind, int64_t due_us);

size_t people_write(const struct people *people, const struct press *press, uint8_t *out);
void people_on_message(const struct people *people, struct press *press, struct pb message);
/* Returns whether the answer is final, and notes it then. Otherwise *ret_retry_ms says when to call again. */
bool people_on_answer(struct people *people, struct press *press, const struct h2_call *call,
                      const struct h2_answer *answer, int64_t *ret_retry_ms);
void people_end(struct people *people, struct press *press, int64_t now_us);

/* Compares the answers with each other, after the run, and counts what contradicts. */
void people_check(struct people *people);
/* A line per press: user kind answer ticket. */
bool people_write_log(const struct people *people, const char *path);
