# SPDX-License-Identifier: Apache-2.0
"""smoke.py HOST:PORT: tests the client against a couponsd. Start couponsd after this program has printed "calling". The
last line of stdout is a JSON object with the results. On a failure, the exit code is 1 and stderr explains it."""

import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import couponsd
import grpc
from coupon.v1 import coupon_admin_service_pb2 as admin_messages, coupon_admin_service_pb2_grpc as admin_services
from coupon.v1 import coupon_pb2, coupon_service_pb2 as messages, coupon_service_pb2_grpc as services, publish_pb2

BURST, BURSTS_MAX, IN_FLIGHT = 500, 20, 250

retries = dict.fromkeys(couponsd.RETRIABLE, 0)
retries_lock = threading.Lock()


def check(ok, expected, got):
    if not ok:
        sys.exit(f"expected {expected}, got {got}")


def count_retry(error, delay):
    with retries_lock:
        retries[error.code()] += 1
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        check(couponsd.reason(error) == "OVERLOADED", "the reason OVERLOADED", couponsd.info(error))
        check(0 < couponsd.retry_delay(error) <= delay, "a delay of at least RetryInfo's", delay)


def call(method, request):
    return couponsd.retry(method, request, timeout=60, on_retry=count_retry)


def refusal(method, request):
    try:
        check(False, "a refusal", call(method, request))
    except grpc.RpcError as error:
        return error.code(), couponsd.info(error)


def create(admin, quantity):
    coupon = coupon_pb2.Coupon(id=random.randrange(1, 2**53), name="smoke", quantity=quantity)
    return call(admin.CreateCoupon, admin_messages.CreateCouponRequest(
        coupon=coupon, request_id=couponsd.request_id())).coupon.id


class Lost(grpc.RpcError):
    """The error of a call whose response was lost on the way."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def trailing_metadata(self):
        return ()


def expect_ids_filled_in(admin, coupons):
    """A call without a request_id sends the same random id on each try, so a lost response does not make it count
    twice."""
    coupon = create(admin, 2)
    publish = messages.RequestPublishRequest(coupon_id=coupon, user_id=1)
    sent = call(coupons.RequestPublish, publish).status.request_id
    check(len(sent) == 36 and not publish.request_id, "a random request_id on a copy", (sent, publish))

    ids = []

    def add_and_lose_the_first_answer(request, timeout):
        ids.append(request.request_id)
        response = admin.AddQuantity(request, timeout=timeout)
        if len(ids) == 1:
            raise Lost
        return response

    more = admin_messages.AddQuantityRequest(coupon_id=coupon, quantity=3)
    quantity = couponsd.retry(add_and_lose_the_first_answer, more).coupon.quantity
    check(quantity == 5 and len(ids) == 2 and ids[0] == ids[1] and not more.request_id,
          "3 added once in two tries", (quantity, ids, more))


def overload(admin, coupons):
    """Sends bursts until a try is answered OVERLOADED. In the end, each request must be accepted with its own
    ticket."""
    for _ in range(BURSTS_MAX):
        coupon = create(admin, 1000)
        requests = [messages.RequestPublishRequest(coupon_id=coupon, user_id=user, request_id=f"burst {user}")
                    for user in range(1, BURST + 1)]
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            tickets = {answer.status.ticket
                       for answer in pool.map(lambda request: call(coupons.RequestPublish, request), requests)}
        check(tickets == set(range(1, BURST + 1)), f"tickets 1 to {BURST}", sorted(tickets))
        if retries[grpc.StatusCode.RESOURCE_EXHAUSTED]:
            return
    check(False, "OVERLOADED", f"none in {BURSTS_MAX} bursts")


def main(target):
    with couponsd.connect(target) as channel:
        coupons, admin = services.CouponServiceStub(channel), admin_services.CouponAdminServiceStub(channel)
        state = publish_pb2.PublishStatus.State
        print("calling", flush=True)
        coupon = create(admin, 1)

        request = messages.RequestPublishRequest(coupon_id=coupon, user_id=1, request_id="first")
        first = call(coupons.RequestPublish, request).status
        check(first.state in (state.STATE_ACCEPTED, state.STATE_ISSUED) and first.ticket == 1, "ticket 1", first)
        again = call(coupons.RequestPublish, request).status
        check(again.ticket == 1 and again.accept_time == first.accept_time, "the first answer again", again)

        request.request_id = "other"
        code, other = refusal(coupons.RequestPublish, request)
        check(code == grpc.StatusCode.ALREADY_EXISTS and other and other.reason == "ALREADY_REQUESTED" and
              other.metadata["ticket"] == "1", "ALREADY_REQUESTED with ticket 1", (code, other))
        request.user_id = 2
        code, late = refusal(coupons.RequestPublish, request)
        check(code == grpc.StatusCode.FAILED_PRECONDITION and late and late.reason == "SOLD_OUT" and
              late.metadata["coupon_id"] == str(coupon), f"SOLD_OUT of coupon {coupon}", (code, late))

        changes = list(coupons.WatchStatus(messages.WatchStatusRequest(coupon_id=coupon, user_id=1), timeout=60))
        check(changes and changes[-1].status.state == state.STATE_ISSUED and changes[-1].status.ticket == 1,
              "a stream that ends with ISSUED", changes)
        held = call(coupons.ListUserCoupons, messages.ListUserCouponsRequest(user_id=1)).user_coupons
        check(any(each.coupon_id == coupon and each.ticket == 1 for each in held), "the coupon in the user's list",
              held)

        expect_ids_filled_in(admin, coupons)
        overload(admin, coupons)
        print(json.dumps({
            "client": "python", "coupon_id": str(coupon), "ticket": first.ticket,
            "reasons": [other.reason, late.reason],
            "unavailable_retries": retries[grpc.StatusCode.UNAVAILABLE],
            "overloaded_retries": retries[grpc.StatusCode.RESOURCE_EXHAUSTED]}))


if __name__ == "__main__":
    main(sys.argv[1])
