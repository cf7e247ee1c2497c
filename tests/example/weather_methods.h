/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of the example with their shapes, for server and client; in the order of weather.proto. */
#pragma once

#include "rpc/rpc.h"

enum { GET_WEATHER, FORECAST, REPORT, ASK, WEATHER_METHODS };

static const struct rpc_method weather_methods[WEATHER_METHODS] = {
    [GET_WEATHER] = {"GetWeather", RPC_UNARY},
    [FORECAST] = {"Forecast", RPC_SERVER_STREAM},
    [REPORT] = {"Report", RPC_CLIENT_STREAM},
    [ASK] = {"Ask", RPC_BIDI_STREAM},
};
