/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, and RFC 3339; see clock.h. Formatting and parsing do not use the C library's time zones and locales. */
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define US_PER_DAY (86400LL * US_PER_S)
/* The range of RFC 3339 and google.protobuf.Timestamp: 0001-01-01 to the end of 9999. */
#define WALL_US_MIN (-62135596800LL * US_PER_S)
#define WALL_US_MAX (253402300800LL * US_PER_S - 1)

static int64_t read_clock_us(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

int64_t clock_mono_us(void) {
    return read_clock_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void) {
    return read_clock_us(CLOCK_REALTIME);
}

struct timespec clock_mono_timespec(int64_t mono_us) {
    return (struct timespec){.tv_sec = mono_us / US_PER_S, .tv_nsec = mono_us % US_PER_S * 1000};
}

void clock_sleep_us(int64_t us) {
    struct timespec time = clock_mono_timespec(us); /* a duration has the same form */
    nanosleep(&time, NULL);
}

/* Returns the days since 1970-01-01 in the proleptic Gregorian calendar. The year starts in March here, so that the
 * leap day is its last day. An era is 400 years, i.e. 146,097 days. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day) {
    if (month <= 2)
        year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    *ret_month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

static char *put(char *out, int64_t value, int digits, char after) {
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    out[digits] = after;
    return out + digits + 1;
}

char *clock_format(int64_t wall_us, char out[static 28]) {
    if (wall_us < WALL_US_MIN)
        wall_us = WALL_US_MIN;
    if (wall_us > WALL_US_MAX)
        wall_us = WALL_US_MAX;
    int64_t days = wall_us / US_PER_DAY;
    int64_t us = wall_us % US_PER_DAY;
    if (us < 0) {
        us += US_PER_DAY;
        days--;
    }

    int64_t year, month, day;
    date_of_days(days, &year, &month, &day);
    int64_t second = us / US_PER_S;
    char *at = put(out, year, 4, '-');
    at = put(at, month, 2, '-');
    at = put(at, day, 2, 'T');
    at = put(at, second / 3600, 2, ':');
    at = put(at, second / 60 % 60, 2, ':');
    at = put(at, second % 60, 2, '.');
    at = put(at, us % US_PER_S, 6, 'Z');
    *at = '\0';
    return out;
}

/* Reads exactly `digits` digits and moves *at past them. */
static bool get(const char **at, int digits, int64_t *ret) {
    int64_t value = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *ret = value;
    return true;
}

static bool skip(const char **at, char c) {
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* Reads the digits after the decimal point. Cuts off digits beyond microseconds. */
static bool get_fraction(const char **at, int64_t *ret_us) {
    int64_t us = 0;
    int n = 0;
    for (; **at >= '0' && **at <= '9'; n++, (*at)++) {
        if (n < 6)
            us = us * 10 + (**at - '0');
    }
    for (int i = n; i < 6; i++)
        us *= 10;
    *ret_us = us;
    return n > 0;
}

static bool get_offset(const char **at, int64_t *ret_seconds) {
    if (skip(at, 'Z') || skip(at, 'z')) {
        *ret_seconds = 0;
        return true;
    }
    int64_t sign = **at == '-' ? -1 : 1;
    if (!skip(at, '+') && !skip(at, '-'))
        return false;
    int64_t hours, minutes;
    if (!get(at, 2, &hours) || !skip(at, ':') || !get(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static int64_t days_in_month(int64_t year, int64_t month) {
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

_Bool clock_parse(const char *text, int64_t *ret_wall_us) {
    const char *at = text;
    int64_t year, month, day, hour, minute, second, offset, us = 0;
    if (!get(&at, 4, &year) || !skip(&at, '-') || !get(&at, 2, &month) || !skip(&at, '-') || !get(&at, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (!skip(&at, 'T') && !skip(&at, 't') && !skip(&at, ' '))
        return false;
    if (!get(&at, 2, &hour) || !skip(&at, ':') || !get(&at, 2, &minute) || !skip(&at, ':') || !get(&at, 2, &second))
        return false;
    /* Second 60 is a leap second. As in POSIX time, it equals the next second. */
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (skip(&at, '.') && !get_fraction(&at, &us))
        return false;
    if (!get_offset(&at, &offset) || *at != '\0')
        return false;

    int64_t seconds = days_of_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    *ret_wall_us = seconds * US_PER_S + us;
    return true;
}
