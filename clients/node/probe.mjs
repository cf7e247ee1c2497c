// SPDX-License-Identifier: Apache-2.0
// probe.mjs NAME=VALUE...: makes the calls that tests/clients asks for, on one stub. The options are target, tls, ca,
// certificate, key, server_name, token and plaintext_token. Each line of stdin is a call, "request COUPON USER
// TIMEOUT_MS" or "watch COUPON USER", and is answered by a line of JSON on stdout.

import { createInterface } from "node:readline";

import { connect, reason, retry } from "couponsd";
import { CouponServiceClient } from "couponsd/coupon/v1/coupon_service";

/** @param {CouponServiceClient} coupons @param {bigint} couponId @param {bigint} userId @param {number} timeoutMs */
async function request(coupons, couponId, userId, timeoutMs) {
  let retries = 0;
  const onRetry = () => void retries++;
  const { status } = await retry(coupons, coupons.requestPublish, { couponId, userId, requestId: "" },
    { timeoutMs, onRetry });
  return { code: 0, ticket: Number(status?.ticket), retries };
}

/** @param {CouponServiceClient} coupons @param {bigint} couponId @param {bigint} userId */
async function watch(coupons, couponId, userId) {
  for await (const _ of coupons.watchStatus({ couponId, userId }));
  return { code: 0 };
}

/** @param {CouponServiceClient} coupons @param {string} line */
async function answer(coupons, line) {
  const [name, coupon = "", user = "", timeoutMs] = line.split(" ");
  try {
    return await (name === "request" ? request(coupons, BigInt(coupon), BigInt(user), Number(timeoutMs))
      : watch(coupons, BigInt(coupon), BigInt(user)));
  } catch (error) {
    return { code: /** @type {{ code: number }} */ (error).code, reason: reason(error) ?? "" };
  }
}

const given = Object.fromEntries(process.argv.slice(2).map((each) => each.split(/=(.*)/s)));
try {
  const coupons = connect(CouponServiceClient, given.target, {
    tls: "tls" in given, ca: given.ca, certificate: given.certificate, key: given.key, serverName: given.server_name,
    token: given.token, plaintextToken: "plaintext_token" in given,
  });
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(coupons, line)));
  }
  coupons.close();
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
}
