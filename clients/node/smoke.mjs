// SPDX-License-Identifier: Apache-2.0
// smoke.mjs HOST:PORT: tests the client against a couponsd. Start couponsd after this program has printed "calling".
// The last line of stdout is a JSON object with the results. On a failure, the exit code is 1 and stderr explains it.

import { randomInt } from "node:crypto";
import { inspect, isDeepStrictEqual } from "node:util";

import { Metadata, status as codes } from "@grpc/grpc-js";
import { connect, info, reason, requestId, retry, retryDelayMs } from "couponsd";
import { AddQuantityRequest, CouponAdminServiceClient, CreateCouponRequest } from "couponsd/coupon/v1/coupon_admin_service";
import { CouponServiceClient, ListUserCouponsRequest } from "couponsd/coupon/v1/coupon_service";
import { PublishStatus_State as State } from "couponsd/coupon/v1/publish";

const BURST = 500, BURSTS_MAX = 20;

let unavailableRetries = 0, overloadedRetries = 0;

/** @type {(ok: unknown, expected: string, got: unknown) => asserts ok} */
function check(ok, expected, got) {
  if (!ok) throw new Error(`expected ${expected}, got ${inspect(got, { breakLength: Infinity, compact: true })}`);
}

/** @type {import("couponsd").RetryOptions} */
const retrying = {
  timeoutMs: 60_000,
  onRetry(error, delayMs) {
    if (error.code === codes.UNAVAILABLE) {
      unavailableRetries++;
    } else if (error.code === codes.RESOURCE_EXHAUSTED) {
      check(reason(error) === "OVERLOADED", "the reason OVERLOADED", error.message);
      check(retryDelayMs(error) > 0 && delayMs >= retryDelayMs(error), "a delay of at least RetryInfo's", delayMs);
      overloadedRetries++;
    }
  },
};

/** @param {Promise<unknown>} call */
async function refusal(call) {
  const [result] = await Promise.allSettled([call]);
  check(result.status === "rejected", "a refusal", result);
  return { code: result.reason.code, info: info(result.reason), message: result.reason.message };
}

/** @param {CouponAdminServiceClient} admin @param {bigint} quantity */
async function create(admin, quantity) {
  // The range of randomInt ends at 2^48.
  const id = BigInt(randomInt(1, 2 ** 48 - 1));
  const request = CreateCouponRequest.create({ coupon: { id, name: "smoke", quantity }, requestId: requestId() });
  const { coupon } = await retry(admin, admin.createCoupon, request, retrying);
  check(coupon?.id === id, `coupon ${id}`, coupon);
  return id;
}

/** A call without a requestId sends the same random id on each try, so a lost response does not make it count twice.
 * @param {CouponAdminServiceClient} admin @param {CouponServiceClient} coupons */
async function expectIdsFilledIn(admin, coupons) {
  const couponId = await create(admin, 2n);
  const publish = { couponId, userId: 1n, requestId: "" };
  const { status } = await retry(coupons, coupons.requestPublish, publish, retrying);
  check(status?.requestId.length === 36 && publish.requestId === "", "a random requestId on a copy", status);

  /** @type {string[]} */
  const ids = [];
  /** @type {import("couponsd").UnaryMethod<AddQuantityRequest, import("couponsd/coupon/v1/coupon_admin_service").AddQuantityResponse>} */
  const addAndLoseTheFirstAnswer = (request, metadata, options, callback) => {
    ids.push(request.requestId);
    const lost = ids.length > 1 ? null : Object.assign(new Error("the response was lost"),
      { code: codes.UNAVAILABLE, details: "the response was lost", metadata: new Metadata() });
    return admin.addQuantity(request, metadata, options, (error, response) => callback(error ?? lost, response));
  };
  const more = AddQuantityRequest.create({ couponId, quantity: 3n });
  const { coupon } = await retry(admin, addAndLoseTheFirstAnswer, more);
  check(coupon?.quantity === 5n && ids.length === 2 && ids[0] === ids[1] && more.requestId === "",
    "3 added once in two tries", { coupon, ids, more });
}

/** Sends bursts until a try is answered OVERLOADED. In the end, each request must be accepted with its own ticket.
 * @param {CouponAdminServiceClient} admin @param {CouponServiceClient} coupons */
async function overload(admin, coupons) {
  const users = Array.from({ length: BURST }, (_, index) => BigInt(index + 1));
  for (let burst = 0; burst < BURSTS_MAX && !overloadedRetries; burst++) {
    const couponId = await create(admin, 1000n);
    const answers = await Promise.all(users.map((userId) =>
      retry(coupons, coupons.requestPublish, { couponId, userId, requestId: `burst ${userId}` }, retrying)));
    const tickets = answers.map(({ status }) => Number(status?.ticket)).sort((one, other) => one - other);
    check(isDeepStrictEqual(tickets, users.map(Number)), `tickets 1 to ${BURST}`, tickets);
  }
  check(overloadedRetries, "OVERLOADED", `none in ${BURSTS_MAX} bursts`);
}

/** @param {CouponAdminServiceClient} admin @param {CouponServiceClient} coupons */
async function smoke(admin, coupons) {
  console.log("calling");
  const couponId = await create(admin, 1n);

  const request = { couponId, userId: 1n, requestId: "first" };
  const { status: first } = await retry(coupons, coupons.requestPublish, request, retrying);
  check(first && [State.STATE_ACCEPTED, State.STATE_ISSUED].includes(first.state) && first.ticket === 1n,
    "ticket 1", first);
  const { status: again } = await retry(coupons, coupons.requestPublish, request, retrying);
  check(again?.ticket === 1n && isDeepStrictEqual(again.acceptTime, first.acceptTime), "the first answer again", again);

  const other = await refusal(
    retry(coupons, coupons.requestPublish, { couponId, userId: 1n, requestId: "other" }, retrying));
  check(other.code === codes.ALREADY_EXISTS && other.info?.reason === "ALREADY_REQUESTED" &&
    other.info.metadata.ticket === "1", "ALREADY_REQUESTED with ticket 1", other);
  const late = await refusal(
    retry(coupons, coupons.requestPublish, { couponId, userId: 2n, requestId: "other" }, retrying));
  check(late.code === codes.FAILED_PRECONDITION && late.info?.reason === "SOLD_OUT" &&
    late.info.metadata.coupon_id === String(couponId), `SOLD_OUT of coupon ${couponId}`, late);

  let last;
  for await (const { status } of coupons.watchStatus({ couponId, userId: 1n }, { deadline: Date.now() + 60_000 })) {
    last = status;
  }
  check(last?.state === State.STATE_ISSUED && last.ticket === 1n, "a stream that ends with ISSUED", last);
  const { userCoupons } = await retry(
    coupons, coupons.listUserCoupons, ListUserCouponsRequest.create({ userId: 1n }), retrying);
  check(userCoupons.some((each) => each.couponId === couponId && each.ticket === 1n),
    "the coupon in the user's list", userCoupons);

  await expectIdsFilledIn(admin, coupons);
  await overload(admin, coupons);
  console.log(JSON.stringify({
    client: "node", coupon_id: String(couponId), ticket: Number(first.ticket),
    reasons: [other.info.reason, late.info.reason],
    unavailable_retries: unavailableRetries, overloaded_retries: overloadedRetries,
  }));
}

const target = process.argv[2] ?? "127.0.0.1:50051";
const admin = connect(CouponAdminServiceClient, target), coupons = connect(CouponServiceClient, target);
try {
  await smoke(admin, coupons);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  admin.close();
  coupons.close();
}
