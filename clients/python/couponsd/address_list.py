# SPDX-License-Identifier: Apache-2.0
"""A channel to several addresses. gRPC has no target for several names, so there is a channel for each of them, which
looks its name up, connects, and does both again after a failure."""

from __future__ import annotations

import functools
import time
from threading import Condition
from typing import Any, Callable

import grpc

State = grpc.ChannelConnectivity
READY, FAILED, CLOSED = State.READY, State.TRANSIENT_FAILURE, State.SHUTDOWN


class AddressList(grpc.Channel):
    """Calls take the channels that are ready in turn. While none is ready, a call waits until one is, until all have
    failed, or until its timeout; only a future does not wait."""

    def __init__(self, channels: list[grpc.Channel]):
        self._channels = channels
        self._changed = Condition()  # guards what follows
        self._states = [State.IDLE] * len(channels)
        self._callbacks: list[Callable[[State], None]] = []
        self._next = 0
        self._is_connecting = False

    def pick(self, timeout: float | None, wait_for_ready: bool | None) -> int:
        """Returns the index of the next call's channel."""
        ends = (CLOSED,) if wait_for_ready else (CLOSED, FAILED)
        with self._changed:
            self._connect()
            self._changed.wait_for(
                lambda: READY in self._states or all(state in ends for state in self._states), timeout)
            n = len(self._channels)
            turn = [(self._next + i) % n for i in range(n)]
            picked = next((i for i in turn if self._states[i] is READY), turn[0])
            self._next = picked + 1
            return picked

    def _connect(self) -> None:
        if self._is_connecting:
            return
        self._is_connecting = True
        for i, channel in enumerate(self._channels):
            channel.subscribe(functools.partial(self._observe, i), try_to_connect=True)

    def _observe(self, i: int, state: State) -> None:
        with self._changed:
            before = self._state()
            if self._states[i] is not CLOSED:
                self._states[i] = state
            self._changed.notify_all()
            after = self._state()
            callbacks = self._callbacks[:] if after is not before else []
        for callback in callbacks:
            callback(after)

    def _state(self) -> State:
        """Returns the best state of all."""
        return next(state for state in (READY, State.CONNECTING, State.IDLE, FAILED, CLOSED) if state in self._states)

    def subscribe(self, callback: Callable[[State], None], try_to_connect: bool | None = False) -> None:
        with self._changed:
            self._callbacks.append(callback)
            if try_to_connect:
                self._connect()
            state = self._state()
        callback(state)

    def unsubscribe(self, callback: Callable[[State], None]) -> None:
        with self._changed:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def unary_unary(self, *args, **kwargs) -> Any:
        return _Method(self, [channel.unary_unary(*args, **kwargs) for channel in self._channels])

    def unary_stream(self, *args, **kwargs) -> Any:
        return _Method(self, [channel.unary_stream(*args, **kwargs) for channel in self._channels])

    def stream_unary(self, *args, **kwargs) -> Any:
        return _Method(self, [channel.stream_unary(*args, **kwargs) for channel in self._channels])

    def stream_stream(self, *args, **kwargs) -> Any:
        return _Method(self, [channel.stream_stream(*args, **kwargs) for channel in self._channels])

    def close(self) -> None:
        with self._changed:
            self._states = [CLOSED] * len(self._channels)
            self._changed.notify_all()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> AddressList:
        return self

    def __exit__(self, *error) -> bool:
        self.close()
        return False


class _Method:
    """A method of all channels."""

    def __init__(self, addresses: AddressList, methods: list[Any]):
        self._addresses = addresses
        self._methods = methods

    def _pick(self, timeout: float | None, others: dict[str, Any]) -> tuple[Any, float | None]:
        """Returns the method to call, and what is left of the timeout."""
        start = time.monotonic()
        method = self._methods[self._addresses.pick(timeout, others.get("wait_for_ready"))]
        return method, timeout and max(timeout - (time.monotonic() - start), 0)

    def __call__(self, request, timeout=None, *more, **others):
        method, timeout = self._pick(timeout, others)
        return method(request, timeout, *more, **others)

    def with_call(self, request, timeout=None, *more, **others):
        method, timeout = self._pick(timeout, others)
        return method.with_call(request, timeout, *more, **others)

    def future(self, request, timeout=None, *more, **others):
        return self._methods[self._addresses.pick(0, None)].future(request, timeout, *more, **others)
