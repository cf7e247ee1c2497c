# SPDX-License-Identifier: Apache-2.0
"""Calls that are tried again until they succeed or are refused for good."""

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
    """A channel in plain text. It looks for a lost server every second, so that one that is back is found soon, and
    leaves retries to retry(), which alone honours RetryInfo."""
    return grpc.insecure_channel(target, options=[
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_retries", 0),
    ])


def request_id() -> str:
    """One for each thing that is asked for; the same on each try."""
    return str(uuid.uuid4())


def retry(method: Callable[..., Response], request: Request, *, timeout: float = 30.0,
          on_retry: Callable[[grpc.RpcError, float], None] | None = None) -> Response:
    """Calls a unary method of a stub until it succeeds, is refused, or `timeout` seconds are over; raises the last error.

    UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, after what the server asks for and a random part of a time that
    doubles from 50 ms to 2 s. UNAVAILABLE does not say whether the server has done what was asked; the request_id makes
    couponsd do it once. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all tries send a copy
    with one random id, and `request` stays as it is. Set an id yourself to repeat the call later.
    `on_retry(error, delay_s)` is told of each new try.
    """
    request = _with_request_id(request)
    deadline = time.monotonic() + timeout
    backoff = FIRST_BACKOFF_S
    while True:
        try:
            return method(request, timeout=max(deadline - time.monotonic(), 0.001))
        except grpc.RpcError as error:
            # A crowd that is sent away together must not come back together: the random part comes on top.
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
