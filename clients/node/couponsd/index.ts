// SPDX-License-Identifier: Apache-2.0
// A client of couponsd: stubs of coupon.v1 (made from proto/ by smoke.sh), and what a caller needs besides.
//
//   import { connect, requestId, retry } from "couponsd";
//   import { CouponServiceClient } from "couponsd/coupon/v1/coupon_service";
//
//   const coupons = connect(CouponServiceClient, "127.0.0.1:50051");
//   const request = { couponId: 7n, userId: 42n, requestId: requestId() };
//   console.log(await retry(coupons, coupons.requestPublish, request));
//
// Numbers of 64 bits are BigInt: an id may be greater than what a Number holds exactly.

export { DOMAIN, info, reason, retryDelayMs, type Info } from "./errors.js";
export { connect, requestId, retry, type RetryOptions, type UnaryMethod } from "./retrying.js";
