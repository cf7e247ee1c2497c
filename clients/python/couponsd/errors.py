# SPDX-License-Identifier: Apache-2.0
"""Decodes the details of an error: google.rpc.ErrorInfo and google.rpc.RetryInfo in grpc-status-details-bin."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "coupon.v1"

Detail = TypeVar("Detail", bound=Message)


class Info(NamedTuple):
    """Why couponsd refused a call, e.g. reason SOLD_OUT with metadata {"coupon_id": "7"}."""

    reason: str
    metadata: dict[str, str]


def _detail(error: grpc.RpcError, kind: type[Detail]) -> Detail | None:
    try:
        status = rpc_status.from_call(error)
    except (DecodeError, ValueError):  # details of another origin, such as a proxy
        return None
    found = kind()
    return next((found for detail in (status.details if status else ()) if detail.Unpack(found)), None)


def info(error: grpc.RpcError) -> Info | None:
    """Returns the reason and its metadata, or None if the error does not come from couponsd."""
    found = _detail(error, error_details_pb2.ErrorInfo)
    return Info(found.reason, dict(found.metadata)) if found and found.domain == DOMAIN else None


def reason(error: grpc.RpcError) -> str:
    """Returns the reason, or "" if there is none."""
    found = info(error)
    return found.reason if found else ""


def retry_delay(error: grpc.RpcError) -> float:
    """Returns the delay in seconds that couponsd asks for before the next try; 0 if it asks for none."""
    found = _detail(error, error_details_pb2.RetryInfo)
    return found.retry_delay.ToTimedelta().total_seconds() if found else 0.0
