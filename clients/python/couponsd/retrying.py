# SPDX-License-Identifier: Apache-2.0
"""Retries calls until they succeed or are refused for good."""

from __future__ import annotations

import random
import time
import uuid
from typing import Callable, TypeVar

import grpc

from .errors import retry_delay

RETRIABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.05, 2.0
TRIES_MIN = 3  # that fit into the time of a call

NEED_REQUEST_ID = ("coupon.v1.RequestPublishRequest", "coupon.v1.CreateCouponRequest", "coupon.v1.AddQuantityRequest")

Request = TypeVar("Request")
Response = TypeVar("Response")


def request_id() -> str:
    """Returns a new random id. Use one id for each request, and the same id for each try of that request."""
    return str(uuid.uuid4())


def retry(method: Callable[..., Response], request: Request, *, timeout: float = 30.0,
          try_timeout: float | None = None,
          on_retry: Callable[[grpc.RpcError, float], None] | None = None) -> Response:
    """Calls a unary method of a stub until it succeeds, is refused, or `timeout` seconds are over. Raises the last
    error.

    UNAVAILABLE and RESOURCE_EXHAUSTED are retried, and a try without an answer within `try_timeout` seconds (by default
    a third of `timeout`): the next one may reach another server. The delay is what the server asks for, plus a random
    part of a backoff that doubles from 50 ms to 2 s. The server may have executed a request that failed; because of the
    request_id, couponsd executes it once. VerifyCoupon may need more than the time of one try: set `try_timeout` to
    `timeout`. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all
    tries send a copy with one random id, and `request` stays as it is. Set an id yourself to repeat the call later.
    `on_retry(error, delay_s)` is called before each delay.
    """
    request = _with_request_id(request)
    deadline = time.monotonic() + timeout
    try_timeout = try_timeout or timeout / TRIES_MIN
    backoff = FIRST_BACKOFF_S
    while True:
        try:
            return method(request, timeout=max(min(deadline - time.monotonic(), try_timeout), 0.001))
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
