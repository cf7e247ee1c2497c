/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of server-sent events that feeds the viewers of the console.
 *
 *   sample     what this process counts, once a second; the feed keeps those of the last minutes, and a new viewer gets
 *              them first
 *   overview   the coupons and the other couponsd; only the newest counts
 *
 * An event is made once for all viewers, and a viewer copies its bytes. A slow viewer holds at most one event: it skips
 * those that it has not begun. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "http/request.h"

#define FEED_SAMPLES     300
#define FEED_VIEWERS_MAX 16

struct feed;

struct feed *feed_new(void);
/* All streams must have ended (feed_end, then http_server_free). NULL is fine. */
void feed_free(struct feed *feed);
/* Takes the JSON of an event, one line. */
void feed_add_sample(struct feed *feed, const struct strbuf *json);
void feed_set_overview(struct feed *feed, const struct strbuf *json);
size_t feed_viewers(struct feed *feed);
/* Answers the request with the stream. False: there are FEED_VIEWERS_MAX viewers, or the feed has ended. `pass` is the
 * viewer's, e.g. its token, and is copied; NULL is fine. */
bool feed_join(struct feed *feed, struct http_request *request, const char *pass);
/* Ends the streams of viewers whose pass is no longer valid. */
void feed_check(struct feed *feed, bool (*is_valid)(void *arg, const char *pass), void *arg);
/* Ends all streams. */
void feed_end(struct feed *feed);
