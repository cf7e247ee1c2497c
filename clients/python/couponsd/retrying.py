# SPDX-License-Identifier: Apache-2.0
"""Retries calls until they succeed or are refused for good."""

from __future__ import annotations

import random
import time
import uuid
from typing import Callable, TypeVar

import grpc

from .errors import retry_delay

RETRIABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.05, 2.0

NEED_REQUEST_ID = ("coupon.v1.RequestPublishRequest", "coupon.v1.CreateCouponRequest", "coupon.v1.AddQuantityRequest")

Request = TypeVar("Request")
Response = TypeVar("Response")


def connect(target: str) -> grpc.Channel:
    """Returns a channel without TLS. It tries to reach a lost server at least once a second, and leaves retries to
    retry(), since the retries of gRPC ignore RetryInfo."""
    return grpc.insecure_channel(target, options=[
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_retries", 0),
    ])


def request_id() -> str:
    """Returns a new random id. Use one id for each request, and the same id for each try of that request."""
    return str(uuid.uuid4())


def retry(method: Callable[..., Response], request: Request, *, timeout: float = 30.0,
          on_retry: Callable[[grpc.RpcError, float], None] | None = None) -> Response:
    """Calls a unary method of a stub until it succeeds, is refused, or `timeout` seconds are over. Raises the last
    error.

    UNAVAILABLE and RESOURCE_EXHAUSTED are retried. The delay is what the server asks for, plus a random part of a
    backoff that doubles from 50 ms to 2 s. After UNAVAILABLE, the server may have executed the request; because of the
    request_id, couponsd executes it once. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all
    tries send a copy with one random id, and `request` stays as it is. Set an id yourself to repeat the call later.
    `on_retry(error, delay_s)` is called before each delay.
    """
    request = _with_request_id(request)
    deadline = time.monotonic() + timeout
    backoff = FIRST_BACKOFF_S
    while True:
        try:
            return method(request, timeout=max(deadline - time.monotonic(), 0.001))
        except grpc.RpcError as error:
            # The random part keeps clients that were refused at the same time from returning at the same time.
            delay = retry_delay(error) + random.uniform(0, backoff)
            if error.code() not in RETRIABLE or time.monotonic() + delay >= deadline:
                raise
            if on_retry:
                on_retry(error, delay)
        time.sleep(delay)
        backoff = min(2 * backoff, MAX_BACKOFF_S)


def _with_request_id(request: Request) -> Request:
    if request.DESCRIPTOR.full_name not in NEED_REQUEST_ID or request.request_id:
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = request_id()
    return copy
