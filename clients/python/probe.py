# SPDX-License-Identifier: Apache-2.0
"""probe.py NAME=VALUE...: makes the calls that tests/clients asks for, on one channel. The options are those of
couponsd.connect. Each line of stdin is a call, "request COUPON USER TIMEOUT_MS" or "watch COUPON USER", and is answered
by a line of JSON on stdout."""

import json
import sys

import couponsd
import grpc
from coupon.v1 import coupon_service_pb2 as messages, coupon_service_pb2_grpc as services


def request(stub, coupon, user, timeout_ms):
    retries = []
    status = couponsd.retry(stub.RequestPublish, messages.RequestPublishRequest(coupon_id=coupon, user_id=user),
                            timeout=timeout_ms / 1000, on_retry=lambda *retry: retries.append(retry)).status
    return {"ticket": status.ticket, "retries": len(retries)}


def watch(stub, coupon, user):
    for change in stub.WatchStatus(messages.WatchStatusRequest(coupon_id=coupon, user_id=user)):
        ticket = change.status.ticket
    return {"ticket": ticket}


def end_of(call, stub, numbers):
    try:
        return {"code": 0, **call(stub, *numbers)}
    except grpc.RpcError as error:
        return {"code": error.code().value[0], "reason": couponsd.reason(error)}


def main(arguments):
    try:
        channel = couponsd.connect(**dict(each.split("=", 1) for each in arguments))
    except (ValueError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return
    with channel:
        stub = services.CouponServiceStub(channel)
        for line in sys.stdin:
            name, *numbers = line.split()
            print(json.dumps(end_of({"request": request, "watch": watch}[name], stub, map(int, numbers))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
