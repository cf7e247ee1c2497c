/* SPDX-License-Identifier: Apache-2.0 */
/* example_server: the weather, one method of each shape.
 *
 *   example_server HOST:PORT    port 0: a free one; prints "listening HOST:PORT", ends on SIGTERM or SIGINT
 *
 * All functions of a call run on its poller's thread, one after another, so the data of a call needs no lock. The data
 * that the calls share is constant here. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "rpc/server.h"
#include "weather.pb-c.h"
#include "weather_methods.h"

#define GRACE_MS          1000
#define HOURS_WAITING_MAX 16 /* messages of a forecast that wait for a slow client */
#define ABSOLUTE_ZERO     (-273.15)

typedef Weather__V1__WeatherService_Service weather_service; /* the functions of the service */

static bool look_up(const char *city, Weather__V1__Weather *ret_weather) {
    static const struct {
        const char *name;
        double celsius;
    } cities[] = {{"Bergen", 8.5}, {"Cairo", 31}, {"Quito", 16}};
    for (size_t i = 0; i < sizeof cities / sizeof cities[0]; i++)
        if (strcmp(cities[i].name, city) == 0) {
            ret_weather->city = (char *)(uintptr_t)city;
            ret_weather->celsius = cities[i].celsius;
            return true;
        }
    return false;
}

static void fail(struct rpc_call *call, int code, const char *message) {
    rpc_call_fail(call, &(struct rpc_status){.code = code, .message = message});
}

/* Every call must be ended, although the client no longer reads the status. */
static void on_cancel(void *call) {
    fail(call, RPC_CANCELLED, NULL);
}

static void serve_get_weather(weather_service *service, const Weather__V1__GetWeatherRequest *request,
                              Weather__V1__Weather_Closure closure, void *closure_data) {
    (void)service;
    Weather__V1__Weather weather = WEATHER__V1__WEATHER__INIT;
    if (look_up(request->city, &weather))
        closure(&weather, closure_data);
    else
        fail(rpc_call_of(closure_data), RPC_NOT_FOUND, "no such city");
}

struct forecast {
    struct rpc_call *call;
    Weather__V1__Hour_Closure closure;
    int64_t hours, written;
    double celsius;
};

/* Writes until enough messages wait. The bridge calls it again when the core has taken them. */
static void write_hours(void *arg) {
    struct forecast *forecast = arg;
    Weather__V1__Hour hour = WEATHER__V1__HOUR__INIT;
    while (forecast->written < forecast->hours && rpc_call_pending_writes(forecast->call) < HOURS_WAITING_MAX) {
        hour.number = ++forecast->written;
        hour.celsius = forecast->celsius + (double)(hour.number % 24) / 4;
        forecast->closure(&hour, forecast->call);
    }
    if (forecast->written >= forecast->hours)
        rpc_call_finish(forecast->call);
}

static void serve_forecast(weather_service *service, const Weather__V1__ForecastRequest *request,
                           Weather__V1__Hour_Closure closure, void *closure_data) {
    (void)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    Weather__V1__Weather now = WEATHER__V1__WEATHER__INIT;
    if (!look_up(request->city, &now)) {
        fail(call, RPC_NOT_FOUND, "no such city");
        return;
    }
    struct forecast *forecast = rpc_call_alloc(call, sizeof *forecast);
    *forecast = (struct forecast){call, closure, request->hours, 0, now.celsius};
    rpc_call_on_cancel(call, on_cancel, call);
    rpc_call_on_drained(call, write_hours, forecast);
    write_hours(forecast);
}

struct report {
    struct rpc_call *call;
    Weather__V1__Summary_Closure closure;
    int64_t count;
    double sum;
};

static void answer_report(void *arg) {
    struct report *report = arg;
    Weather__V1__Summary summary = WEATHER__V1__SUMMARY__INIT;
    summary.count = report->count;
    summary.mean_celsius = report->count ? report->sum / (double)report->count : 0;
    report->closure(&summary, report->call);
}

/* `measurement` is NULL when the call begins. Then the bridge calls this for each one. */
static void serve_report(weather_service *service, const Weather__V1__Measurement *measurement,
                         Weather__V1__Summary_Closure closure, void *closure_data) {
    (void)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    if (!measurement) {
        struct report *report = rpc_call_alloc(call, sizeof *report);
        *report = (struct report){.call = call, .closure = closure};
        rpc_call_set_state(call, report);
        rpc_call_on_half_close(call, answer_report, report);
        rpc_call_on_cancel(call, on_cancel, call);
    } else if (measurement->celsius >= ABSOLUTE_ZERO) {
        struct report *report = rpc_call_state(call);
        report->count++;
        report->sum += measurement->celsius;
    } else {
        fail(call, RPC_INVALID_ARGUMENT, "nothing is that cold");
    }
}

/* While too many answers wait for the client to read them, the bridge reads no further requests. */
static void serve_ask(weather_service *service, const Weather__V1__GetWeatherRequest *request,
                      Weather__V1__Weather_Closure closure, void *closure_data) {
    if (request)
        serve_get_weather(service, request, closure, closure_data);
    else
        rpc_call_on_cancel(rpc_call_of(closure_data), on_cancel, rpc_call_of(closure_data));
}

static bool start(const char *listen, struct rpc_server **ret_server, struct err *err) {
    static weather_service service = WEATHER__V1__WEATHER_SERVICE__INIT(serve_);
    extern const unsigned char _binary_weather_set_start[], _binary_weather_set_end[];
    const struct rpc_server_options options = {
        .listen = listen,
        .pollers = 2,
        .descriptor_set = _binary_weather_set_start,
        .descriptor_set_size = (size_t)(_binary_weather_set_end - _binary_weather_set_start),
    };
    return rpc_server_new(&options, ret_server, err) &&
           rpc_server_add(*ret_server, &service.base, weather_methods, WEATHER_METHODS, err) &&
           rpc_reflection_add(*ret_server, err) && rpc_server_start(*ret_server, err);
}

int main(int argc, char **argv) {
    struct rpc_server *server = NULL;
    struct err err = {.text = "usage: example_server HOST:PORT"};
    sigset_t signals;
    int signal;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Before any thread starts, so that all threads leave the signals to sigwait. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    bool ok = argc == 2 && start(argv[1], &server, &err);
    if (ok) {
        printf("listening %s\n", rpc_server_address(server));
        fflush(stdout);
        sigwait(&signals, &signal);
        rpc_server_stop(server, GRACE_MS, NULL);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    rpc_server_free(server);
    return ok ? 0 : 1;
}
