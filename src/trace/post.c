/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/post.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define CONNECT_TIMEOUT_MS 2000L
#define TIMEOUT_MS         5000L
#define HURRY_US           US_PER_S

struct post {
    CURL *curl;
    struct curl_slist *headers;
    const atomic_bool *hurry;
    int64_t hurried_us; /* when *hurry was first seen as true; 0: not yet */
    char error[CURL_ERROR_SIZE];
};

/* The answer tells nothing that its status does not. */
static size_t ignore(char *bytes, size_t size, size_t n, void *arg) {
    (void)bytes;
    (void)arg;
    return size * n;
}

/* libcurl calls it at least once a second. Not 0: it gives up. */
static int look_at_hurry(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    struct post *post = arg;
    (void)a, (void)b, (void)c, (void)d;
    if (!atomic_load(post->hurry))
        return 0;
    int64_t now_us = clock_mono_us();
    post->hurried_us = post->hurried_us ? post->hurried_us : now_us;
    return now_us - post->hurried_us > HURRY_US;
}

static void add_header(struct post *post, const char *text) {
    post->headers = memory_must(curl_slist_append(post->headers, text));
}

static bool has_control(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

/* "name=value,name=value". An error does not repeat the values, which may be secret. */
static bool add_headers(struct post *post, const char *list, struct err *err) {
    char *copy = memory_copy(list), *rest = copy, *pair;
    bool ok = !has_control(list);
    while (ok && (pair = strsep(&rest, ","))) {
        pair += strspn(pair, " ");
        char *equals = strchr(pair, '=');
        if (*pair == '\0')
            continue;
        ok = equals && equals > pair && equals[1];
        if (!ok)
            break;
        size_t size = strlen(pair) + 2;
        char *header = memory_new(size, 1);
        snprintf(header, size, "%.*s: %s", (int)(equals - pair), pair, equals + 1);
        add_header(post, header);
        free(header);
    }
    free(copy);
    return ok || err_set(err, ERR_INVALID, BACKEND_NONE, "trace.headers: expected name=value,name=value");
}

static bool is_url(const char *endpoint) {
    CURLU *url = memory_must(curl_url());
    char *scheme = NULL;
    bool is_url = curl_url_set(url, CURLUPART_URL, endpoint, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(url);
    return is_url;
}

static void set_options(struct post *post, const char *endpoint) {
    CURL *curl = post->curl;
    curl_easy_setopt(curl, CURLOPT_URL, endpoint);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, post->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "couponsd/" COUPONSD_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* the process has other threads */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, post->error);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_hurry);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, post);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L); /* or libcurl would not call look_at_hurry */
}

bool post_new(const char *endpoint, const char *headers, struct post **ret_post, struct err *err) {
    if (!is_url(endpoint))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "trace.endpoint: expected a URL such as http://127.0.0.1:4318/v1/traces");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "libcurl can't be initialized");
    struct post *post = memory_new(1, sizeof *post);
    post->curl = memory_must(curl_easy_init());
    add_header(post, "Content-Type: application/x-protobuf");
    add_header(post, "Expect:"); /* or libcurl would wait for the answer 100 */
    if (!add_headers(post, headers, err)) {
        post_free(post);
        return false;
    }
    set_options(post, endpoint);
    *ret_post = post;
    return true;
}

void post_free(struct post *post) {
    if (!post)
        return;
    curl_easy_cleanup(post->curl);
    curl_slist_free_all(post->headers);
    free(post);
}

/* OTLP's list of answers after which a client should try again. */
static bool may_be_repeated(long status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

enum post_result post_send(struct post *post, const uint8_t *bytes, size_t len, const atomic_bool *hurry,
                           struct err *err) {
    long status = 0;
    post->hurry = hurry;
    post->hurried_us = 0;
    post->error[0] = '\0';
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, (const char *)bytes);
    CURLcode code = curl_easy_perform(post->curl);
    if (code != CURLE_OK) {
        err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "%s", post->error[0] ? post->error : curl_easy_strerror(code));
        return POST_FAILED;
    }
    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300)
        return POST_SENT;
    bool may_help = may_be_repeated(status);
    err_set(err, may_help ? ERR_UNAVAILABLE : ERR_REFUSED, BACKEND_NONE, "the receiver answers %ld", status);
    return may_help ? POST_FAILED : POST_REFUSED;
}
