/* SPDX-License-Identifier: Apache-2.0 */
/* The feed; see feed.h. `lock` guards everything. A viewer belongs to the HTTP thread, which reads its stream and
 * closes it; other threads only resume the paused ones. */
#include "console/feed.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "console/answer.h"

/* The text of an event, shared by the feed and the viewers that are sending it. */
struct piece {
    int refs;
    size_t len;
    char text[];
};

struct viewer {
    struct feed *feed;
    struct http_request *request;
    struct viewer *next;
    struct piece *piece; /* being sent; NULL: none */
    size_t sent;         /* bytes of it */
    uint64_t next_sample, overview;
    bool is_paused;
    bool is_over;
    char *pass; /* or NULL */
};

struct feed {
    pthread_mutex_t lock;
    struct piece *samples[FEED_SAMPLES]; /* number n at n % FEED_SAMPLES */
    uint64_t n_samples;
    struct piece *overview;
    uint64_t n_overviews;
    struct viewer *viewers;
    size_t n_viewers;
    bool is_over;
};

struct feed *feed_new(void) {
    struct feed *feed = memory_new(1, sizeof *feed);
    pthread_mutex_init(&feed->lock, NULL);
    return feed;
}

static void release(struct piece *piece) {
    if (piece && --piece->refs == 0)
        free(piece);
}

void feed_free(struct feed *feed) {
    if (!feed)
        return;
    for (size_t i = 0; i < FEED_SAMPLES; i++)
        release(feed->samples[i]);
    release(feed->overview);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

static struct piece *piece_new(const char *event, const struct strbuf *json) {
    struct strbuf text = {0};
    strbuf_printf(&text, "event: %s\ndata: ", event);
    strbuf_add(&text, json->data, json->len);
    strbuf_puts(&text, "\n\n");
    struct piece *piece = memory_new(1, sizeof *piece + text.len);
    piece->refs = 1;
    piece->len = text.len;
    memcpy(piece->text, text.data, text.len);
    strbuf_deinit(&text);
    return piece;
}

/* Lock held. */
static void resume_all(struct feed *feed) {
    for (struct viewer *viewer = feed->viewers; viewer; viewer = viewer->next)
        if (viewer->is_paused) {
            viewer->is_paused = false;
            http_request_resume(viewer->request);
        }
}

void feed_add_sample(struct feed *feed, const struct strbuf *json) {
    struct piece *piece = piece_new("sample", json);
    pthread_mutex_lock(&feed->lock);
    struct piece **at = &feed->samples[feed->n_samples++ % FEED_SAMPLES];
    release(*at);
    *at = piece;
    resume_all(feed);
    pthread_mutex_unlock(&feed->lock);
}

void feed_set_overview(struct feed *feed, const struct strbuf *json) {
    struct piece *piece = piece_new("overview", json);
    pthread_mutex_lock(&feed->lock);
    release(feed->overview);
    feed->overview = piece;
    feed->n_overviews++;
    resume_all(feed);
    pthread_mutex_unlock(&feed->lock);
}

size_t feed_viewers(struct feed *feed) {
    pthread_mutex_lock(&feed->lock);
    size_t n = feed->n_viewers;
    pthread_mutex_unlock(&feed->lock);
    return n;
}

/* Takes the viewer's next event. Lock held. */
static void take_next(struct feed *feed, struct viewer *viewer) {
    uint64_t oldest = feed->n_samples > FEED_SAMPLES ? feed->n_samples - FEED_SAMPLES : 0;
    if (viewer->next_sample < oldest)
        viewer->next_sample = oldest;
    if (viewer->next_sample < feed->n_samples) {
        viewer->piece = feed->samples[viewer->next_sample++ % FEED_SAMPLES];
    } else if (viewer->overview < feed->n_overviews) {
        viewer->piece = feed->overview;
        viewer->overview = feed->n_overviews;
    } else {
        return;
    }
    viewer->piece->refs++;
    viewer->sent = 0;
}

/* The `read` of the stream. */
static ssize_t read_events(void *arg, char *room, size_t max) {
    struct viewer *viewer = arg;
    struct feed *feed = viewer->feed;
    size_t n = 0;
    pthread_mutex_lock(&feed->lock);
    bool ends = feed->is_over || viewer->is_over;
    while (n < max && !ends) {
        if (!viewer->piece)
            take_next(feed, viewer);
        if (!viewer->piece)
            break;
        size_t left = viewer->piece->len - viewer->sent, part = left < max - n ? left : max - n;
        memcpy(room + n, viewer->piece->text + viewer->sent, part);
        n += part;
        viewer->sent += part;
        if (viewer->sent == viewer->piece->len) {
            release(viewer->piece);
            viewer->piece = NULL;
        }
    }
    viewer->is_paused = n == 0 && !ends;
    if (viewer->is_paused)
        http_request_pause(viewer->request);
    pthread_mutex_unlock(&feed->lock);
    return ends ? -1 : (ssize_t)n;
}

/* The `close` of the stream. */
static void leave(void *arg) {
    struct viewer *viewer = arg;
    struct feed *feed = viewer->feed;
    pthread_mutex_lock(&feed->lock);
    struct viewer **at = &feed->viewers;
    while (*at != viewer)
        at = &(*at)->next;
    *at = viewer->next;
    feed->n_viewers--;
    release(viewer->piece);
    pthread_mutex_unlock(&feed->lock);
    free(viewer->pass);
    free(viewer);
}

bool feed_join(struct feed *feed, struct http_request *request, const char *pass) {
    struct viewer *viewer = memory_new(1, sizeof *viewer);
    *viewer = (struct viewer){.feed = feed, .request = request, .pass = pass ? memory_copy(pass) : NULL};
    pthread_mutex_lock(&feed->lock);
    bool is_room = feed->n_viewers < FEED_VIEWERS_MAX && !feed->is_over;
    if (is_room) {
        viewer->next = feed->viewers;
        feed->viewers = viewer;
        feed->n_viewers++;
    }
    pthread_mutex_unlock(&feed->lock);
    if (!is_room) {
        free(viewer->pass);
        free(viewer);
        return false;
    }
    http_respond_stream(request, &(struct http_stream){
                                     .content_type = "text/event-stream",
                                     .read = read_events,
                                     .close = leave,
                                     .arg = viewer,
                                     .headers = answer_headers,
                                     .n_headers = n_answer_headers,
                                 });
    return true;
}

void feed_check(struct feed *feed, bool (*is_valid)(void *arg, const char *pass), void *arg) {
    pthread_mutex_lock(&feed->lock);
    for (struct viewer *viewer = feed->viewers; viewer; viewer = viewer->next)
        viewer->is_over |= !is_valid(arg, viewer->pass);
    resume_all(feed);
    pthread_mutex_unlock(&feed->lock);
}

void feed_end(struct feed *feed) {
    pthread_mutex_lock(&feed->lock);
    feed->is_over = true;
    resume_all(feed);
    pthread_mutex_unlock(&feed->lock);
}
