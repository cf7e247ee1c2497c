/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons and statuses as text for people, and as one JSON object per line for scripts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "coupon/v1/coupon.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/publish.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"

/* The value's name without the enum's prefix, e.g. "ISSUED"; "?" for a value that this program does not know. */
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
/* The names of topics that are gone. */
void print_deleted(char *const *topics, size_t n, bool json);

void print_dead_letter_header(bool json);
void print_dead_letter(const Coupon__V1__DeadLetter *letter, bool json);
/* With key and value, in several lines for people. */
void print_dead_letter_whole(const Coupon__V1__DeadLetter *letter, bool json);
void print_replay(const Coupon__V1__Replay *replay, bool json);
void print_check(const Coupon__V1__Check *check, bool json);

/* Control characters, which a server could steer a terminal with, become '?'; line breaks stay. */
void print_safely(FILE *out, const char *text);

int64_t timestamp_us(const Google__Protobuf__Timestamp *time);
Google__Protobuf__Timestamp timestamp_of(int64_t wall_us);
