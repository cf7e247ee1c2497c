// SPDX-License-Identifier: Apache-2.0
// example.mjs HOST:PORT COUPON USER: requests a coupon for a user.

import { connect, reason, requestId, retry } from "couponsd";
import { CouponServiceClient } from "couponsd/coupon/v1/coupon_service";

const [target = "127.0.0.1:50051", coupon = "7", user = "42"] = process.argv.slice(2);
const coupons = connect(CouponServiceClient, target);
const request = { couponId: BigInt(coupon), userId: BigInt(user), requestId: requestId() };
try {
  const { status } = await retry(coupons, coupons.requestPublish, request);
  console.log(`accepted, ticket ${status?.ticket}`);
} catch (error) {
  console.error(`refused: ${reason(error) ?? error}`);
  process.exitCode = 1;
} finally {
  coupons.close();
}
