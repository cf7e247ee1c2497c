/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of grpc.testing and their shapes (unary, streaming). */
#pragma once

#include "rpc/rpc.h"

enum {
    EMPTY_CALL,
    UNARY_CALL,
    CACHEABLE_UNARY_CALL,
    STREAMING_OUTPUT_CALL,
    STREAMING_INPUT_CALL,
    FULL_DUPLEX_CALL,
    HALF_DUPLEX_CALL,
    UNIMPLEMENTED_CALL,
    TEST_SERVICE_METHODS
};

static const struct rpc_method test_service_methods[TEST_SERVICE_METHODS] = {
    [EMPTY_CALL] = {"EmptyCall", RPC_UNARY},
    [UNARY_CALL] = {"UnaryCall", RPC_UNARY},
    [CACHEABLE_UNARY_CALL] = {"CacheableUnaryCall", RPC_UNARY},
    [STREAMING_OUTPUT_CALL] = {"StreamingOutputCall", RPC_SERVER_STREAM},
    [STREAMING_INPUT_CALL] = {"StreamingInputCall", RPC_CLIENT_STREAM},
    [FULL_DUPLEX_CALL] = {"FullDuplexCall", RPC_BIDI_STREAM},
    [HALF_DUPLEX_CALL] = {"HalfDuplexCall", RPC_BIDI_STREAM},
    [UNIMPLEMENTED_CALL] = {"UnimplementedCall", RPC_UNARY},
};
