// SPDX-License-Identifier: Apache-2.0
// Requests to couponsd. The token lives in the tab's session storage, and goes with each request.

const KEY = "couponsd.token";

export class Refused extends Error {
  constructor(status, { code, reason, message }) {
    super(message || code || `HTTP ${status}`);
    this.status = status;
    this.reason = reason ?? "";
  }
}

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setToken(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/** Sends a request, and throws Refused unless it succeeds. */
export async function send(path, { method = "GET", signal, as = token() } = {}) {
  const headers = { "X-Couponsd-Console": "1" };
  if (as) headers.Authorization = `Bearer ${as}`;
  const answer = await fetch(`api/${path}`, { method, headers, signal, cache: "no-store" });
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}

const query = (fields) => {
  const text = new URLSearchParams(fields).toString();
  return text ? `?${text}` : "";
};

export async function read(path, fields = {}, options = {}) {
  return (await send(path + query(fields), options)).json();
}

/** Calls a method of couponsd, for example "CouponAdminService/PauseCoupon". */
export const call = (name, fields = {}, options = {}) => read(`call/${name}`, fields, options);
export const change = (name, fields = {}) => read(`call/${name}`, fields, { method: "POST" });
