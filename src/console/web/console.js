// SPDX-License-Identifier: Apache-2.0
// The console: finds the view for the address, and tells it when something has come.

import { Refused, read, send, setToken, token } from "./api.js";
import { askForToken } from "./ask.js";
import { Campaign, Coupons } from "./coupons.js";
import { element } from "./dom.js";
import { CONNECTING, live, SIGNED_OUT } from "./live.js";
import { Health, Letters, People, Topics } from "./views.js";

const $ = (id) => document.getElementById(id);
const VIEWS = [
  [/^#\/coupon\/(\d+)$/, Campaign, "#/"],
  [/^#\/people(?:\/(\d+))?$/, People, "#/people"],
  [/^#\/topics$/, Topics, "#/topics"],
  [/^#\/letters$/, Letters, "#/letters"],
  [/^#\/health$/, Health, "#/health"],
  [/^/, Coupons, "#/"],
];
const me = { is_open: false, may_read: false, may_change: false };
let view = null;

/** What stands where a view would, for somebody who may not look. */
class Closed {
  title = "Sign in";
  node = element("div", {}, element("h1", {}, "couponsd"),
    element("p", {}, "The console shows coupons, their campaigns and couponsd's health to those who have a token."),
    element("p", {}, element("button", { type: "button", class: "primary", onclick: signIn }, "Sign in")));
  update() {}
}

function show() {
  const [pattern, View, link] = VIEWS.find(([each]) => each.test(location.hash));
  view?.leave?.();
  view = me.may_read ? new View(me, ...pattern.exec(location.hash).slice(1)) : new Closed();
  $("main").replaceChildren(view.node);
  document.title = `${view.title} – couponsd`;
  for (const each of document.querySelectorAll("nav a"))
    if (each.getAttribute("href") === link) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  view.update();
}

/** What is wrong, in words; "": nothing. */
function trouble() {
  if (live.problem) return [CONNECTING, SIGNED_OUT].includes(live.problem) ? "" : live.problem;
  const failed = live.last?.backends.filter((backend) => backend.failed) ?? [];
  const names = { postgres: "Postgres", redis: "Redis", kafka: "Kafka" };
  const texts = failed.map((backend) => `${names[backend.name]} fails: ${backend.text}`);
  if (live.last && !live.last.ready && !texts.length) texts.push(`couponsd is not ready: ${live.last.ready_text}`);
  const { coupons_error: coupons, instances_error: instances } = live.overview ?? {};
  if (!texts.length && coupons) texts.push(`The coupons could not be read, so their numbers are old: ${coupons}`);
  if (!texts.length && instances) texts.push(`The other couponsd could not be read: ${instances}`);
  return texts.join(" · ");
}

function update() {
  $("live").textContent = live.problem === SIGNED_OUT ? "" : live.problem ? "not live" : "live";
  const text = trouble();
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
  $("trouble").hidden = !text;
  view?.update();
}

async function learnWhoIAm(as = token()) {
  Object.assign(me, await read("me", {}, { as }));
  $("sign").hidden = me.is_open;
  $("sign").textContent = token() ? "Sign out" : "Sign in";
}

async function signIn() {
  await askForToken(async (text) => {
    const answer = await (await send("me", { as: text })).json();
    if (!answer.may_read) throw new Refused(401, { message: "this token is unknown, or has neither the role observer nor admin" });
    setToken(text);
  });
  await begin();
}

let retry = 0;

async function begin() {
  clearTimeout(retry);
  try {
    await learnWhoIAm();
  } catch (error) {
    $("trouble").textContent = error.status ? error.message : "couponsd is not reachable; trying again";
    $("trouble").hidden = false;
    clearTimeout(retry);
    retry = setTimeout(begin, 1000);
    return;
  }
  show();
  if (me.may_read) live.connect();
  else live.disconnect();
}

$("sign").addEventListener("click", () => {
  if (!token()) {
    signIn();
    return;
  }
  setToken("");
  Object.assign(me, { may_read: false, may_change: false });
  $("sign").textContent = "Sign in";
  live.disconnect();
  show();
  begin();
});
live.addEventListener("change", update);
window.addEventListener("hashchange", () => {
  show();
  $("main").focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
window.addEventListener("resize", update);
begin();
