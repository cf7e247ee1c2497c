# SPDX-License-Identifier: Apache-2.0
"""What the details of an error say: google.rpc.ErrorInfo and google.rpc.RetryInfo in grpc-status-details-bin."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "coupon.v1"

Detail = TypeVar("Detail", bound=Message)


class Info(NamedTuple):
    """Why couponsd refused, e.g. reason SOLD_OUT with metadata {"coupon_id": "7"}."""

    reason: str
    metadata: dict[str, str]


def _detail(error: grpc.RpcError, kind: type[Detail]) -> Detail | None:
    try:
        status = rpc_status.from_call(error)
    except (DecodeError, ValueError):  # somebody else's details, a proxy's say
        return None
    found = kind()
    return next((found for detail in (status.details if status else ()) if detail.Unpack(found)), None)


def info(error: grpc.RpcError) -> Info | None:
    """The reason and its metadata, or None if the error does not come from couponsd."""
    found = _detail(error, error_details_pb2.ErrorInfo)
    return Info(found.reason, dict(found.metadata)) if found and found.domain == DOMAIN else None


def reason(error: grpc.RpcError) -> str:
    """The reason alone, "" where there is none."""
    found = info(error)
    return found.reason if found else ""


def retry_delay(error: grpc.RpcError) -> float:
    """Seconds that couponsd asks to wait before the next try; 0 if it does not ask."""
    found = _detail(error, error_details_pb2.RetryInfo)
    return found.retry_delay.ToTimedelta().total_seconds() if found else 0.0
