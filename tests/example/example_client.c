/* SPDX-License-Identifier: Apache-2.0 */
/* example_client: calls example_server. If a call fails, prints why and exits with 1.
 *
 * The channel's poller prints the messages while main waits. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client.h"
#include "weather.pb-c.h"
#include "weather_methods.h"

#define TIMEOUT_MS 60000

static const char usage[] = "usage: example_client HOST:PORT VERB\n"
                            "  get CITY              the weather there\n"
                            "  forecast CITY HOURS   hour by hour\n"
                            "  report CELSIUS...     tells what was measured\n"
                            "  ask CITY...           the weather of several cities, in one call\n";

static void print_weather(const ProtobufCMessage *message, void *arg) {
    const Weather__V1__Weather *weather = (const void *)message;
    (void)arg;
    printf("%s: %.1f C\n", weather->city, weather->celsius);
}

static void print_hour(const ProtobufCMessage *message, void *arg) {
    const Weather__V1__Hour *hour = (const void *)message;
    (void)arg;
    printf("hour %lld: %.2f C\n", (long long)hour->number, hour->celsius);
}

static void print_summary(const ProtobufCMessage *message, void *arg) {
    const Weather__V1__Summary *summary = (const void *)message;
    (void)arg;
    printf("%lld measured, %.2f C on average\n", (long long)summary->count, summary->mean_celsius);
}

static bool print_failure(const struct rpc_status *status) {
    fprintf(stderr, "%s: %s\n", rpc_code_name(status->code), status->message);
    return false;
}

/* --- one request: the call blocks --- */

static bool call(ProtobufCService *service, unsigned method, const ProtobufCMessage *request,
                 void (*print)(const ProtobufCMessage *message, void *arg)) {
    struct rpc_status status;
    if (rpc_client_call_wait(service, method, request, TIMEOUT_MS, &(struct rpc_reader){print, NULL}, &status))
        return true;
    print_failure(&status);
    rpc_status_deinit(&status);
    return false;
}

static bool get(ProtobufCService *service, char *city) {
    Weather__V1__GetWeatherRequest request = WEATHER__V1__GET_WEATHER_REQUEST__INIT;
    request.city = city;
    return call(service, GET_WEATHER, &request.base, print_weather);
}

static bool forecast(ProtobufCService *service, char *city, const char *hours) {
    Weather__V1__ForecastRequest request = WEATHER__V1__FORECAST_REQUEST__INIT;
    request.city = city;
    request.hours = strtoll(hours, NULL, 10);
    return call(service, FORECAST, &request.base, print_hour);
}

/* --- many requests: open, write, half-close, and wait for `done` --- */

struct stream {
    struct rpc_client_call call; /* first: `done` gets a pointer to it */
    sem_t ended;
    bool ok;
};

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct stream *stream = (struct stream *)call;
    stream->ok = status->code == RPC_OK || print_failure(status);
    sem_post(&stream->ended);
}

static bool stream_finish(struct stream *stream) {
    rpc_client_call_half_close(&stream->call);
    while (sem_wait(&stream->ended))
        ; /* interrupted by a signal */
    sem_destroy(&stream->ended);
    return stream->ok;
}

static bool report(ProtobufCService *service, char **celsius) {
    struct stream stream = {.call = {.timeout_ms = TIMEOUT_MS, .done = on_done}};
    Weather__V1__Measurement measurement = WEATHER__V1__MEASUREMENT__INIT;
    sem_init(&stream.ended, 0, 0);
    rpc_client_call_open(service, REPORT, print_summary, &stream.call);
    for (; *celsius; celsius++) {
        measurement.celsius = strtod(*celsius, NULL);
        rpc_client_call_write(&stream.call, &measurement.base);
    }
    return stream_finish(&stream);
}

static bool ask(ProtobufCService *service, char **cities) {
    struct stream stream = {.call = {.timeout_ms = TIMEOUT_MS, .done = on_done}};
    Weather__V1__GetWeatherRequest request = WEATHER__V1__GET_WEATHER_REQUEST__INIT;
    sem_init(&stream.ended, 0, 0);
    rpc_client_call_open(service, ASK, print_weather, &stream.call);
    for (; *cities; cities++) {
        request.city = *cities;
        rpc_client_call_write(&stream.call, &request.base);
    }
    return stream_finish(&stream);
}

static bool run(ProtobufCService *service, int argc, char **argv) {
    const char *verb = argv[2];
    if (strcmp(verb, "get") == 0 && argc == 4)
        return get(service, argv[3]);
    if (strcmp(verb, "forecast") == 0 && argc == 5)
        return forecast(service, argv[3], argv[4]);
    if (strcmp(verb, "report") == 0)
        return report(service, argv + 3);
    if (strcmp(verb, "ask") == 0)
        return ask(service, argv + 3);
    fputs(usage, stderr);
    return false;
}

int main(int argc, char **argv) {
    struct rpc_channel *channel;
    struct err err;
    if (argc < 3 || !rpc_channel_new(argv[1], NULL, &channel, &err)) {
        fprintf(stderr, "%s\n", argc < 3 ? usage : err.text);
        return 1;
    }
    bool ok =
        run(rpc_channel_service(channel, &weather__v1__weather_service__descriptor, weather_methods, WEATHER_METHODS),
            argc, argv);
    rpc_channel_free(channel);
    return ok ? 0 : 1;
}
