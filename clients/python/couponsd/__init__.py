# SPDX-License-Identifier: Apache-2.0
"""A client of couponsd. It adds a channel, retries and reasons to the stubs of coupon.v1, which smoke.sh generates.

    import couponsd
    from coupon.v1 import coupon_service_pb2 as messages, coupon_service_pb2_grpc as services

    with couponsd.connect("127.0.0.1:50051") as channel:
        coupons = services.CouponServiceStub(channel)
        request = messages.RequestPublishRequest(coupon_id=7, user_id=42, request_id=couponsd.request_id())
        print(couponsd.retry(coupons.RequestPublish, request).status)
"""

from .channels import connect
from .errors import Info, info, reason, retry_delay
from .retrying import RETRIABLE, request_id, retry

__all__ = ["RETRIABLE", "Info", "connect", "info", "reason", "request_id", "retry", "retry_delay"]
