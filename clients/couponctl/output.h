/* SPDX-License-Identifier: Apache-2.0 */
/* Prints answers as text for people, or as one JSON object per line for scripts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "coupon/v1/coupon.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/publish.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"

/* Returns the name of the value without the prefix of the enum, e.g. "ISSUED"; "?" if this program does not know it. */
const char *state_name(Coupon__V1__PublishStatus__State state);
const char *reject_reason_name(Coupon__V1__RejectReason reason);

void print_coupon_header(bool json);
void print_coupon(const Coupon__V1__Coupon *coupon, bool json);
void print_status(const Coupon__V1__PublishStatus *status, bool json);
void print_user_coupon_header(bool json);
void print_user_coupon(const Coupon__V1__UserCoupon *coupon, bool json);

void print_topic_header(bool json);
void print_topic(const Coupon__V1__Topic *topic, bool json);
void print_migration(const Coupon__V1__Migration *migration, bool json);
/* Prints the names of deleted topics. */
void print_deleted(char *const *topics, size_t n, bool json);

void print_dead_letter_header(bool json);
void print_dead_letter(const Coupon__V1__DeadLetter *letter, bool json);
/* Prints a dead letter with its key and value; on several lines if not JSON. */
void print_dead_letter_whole(const Coupon__V1__DeadLetter *letter, bool json);
void print_replay(const Coupon__V1__Replay *replay, bool json);
void print_check(const Coupon__V1__Check *check, bool json);

/* Prints text with '?' instead of control characters, with which a server could control the terminal. Line breaks
 * stay. */
void print_safely(FILE *out, const char *text);

int64_t timestamp_us(const Google__Protobuf__Timestamp *time);
Google__Protobuf__Timestamp timestamp_of(int64_t wall_us);
