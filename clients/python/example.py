# SPDX-License-Identifier: Apache-2.0
"""example.py HOST:PORT COUPON USER: requests a coupon for a user."""

import sys

import couponsd
import grpc
from coupon.v1 import coupon_service_pb2 as messages, coupon_service_pb2_grpc as services

with couponsd.connect(sys.argv[1]) as channel:
    request = messages.RequestPublishRequest(coupon_id=int(sys.argv[2]), user_id=int(sys.argv[3]),
                                             request_id=couponsd.request_id())
    try:
        status = couponsd.retry(services.CouponServiceStub(channel).RequestPublish, request).status
        print(f"accepted, ticket {status.ticket}")
    except grpc.RpcError as error:
        sys.exit(f"refused: {couponsd.reason(error) or error.code()}")
