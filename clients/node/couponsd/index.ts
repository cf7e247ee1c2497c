// SPDX-License-Identifier: Apache-2.0
// A client of couponsd. It adds connections, retries and reasons to the stubs of coupon.v1, which smoke.sh generates.
//
//   import { connect, requestId, retry } from "couponsd";
//   import { CouponServiceClient } from "couponsd/coupon/v1/coupon_service";
//
//   const coupons = connect(CouponServiceClient, "127.0.0.1:50051");
//   const request = { couponId: 7n, userId: 42n, requestId: requestId() };
//   console.log(await retry(coupons, coupons.requestPublish, request));
//
// 64-bit numbers are BigInt, since a Number cannot hold every id exactly.

export { connect, type ConnectOptions } from "./connecting.js";
export { DOMAIN, info, reason, retryDelayMs, type Info } from "./errors.js";
export { requestId, retry, type RetryOptions, type UnaryMethod } from "./retrying.js";
