// SPDX-License-Identifier: Apache-2.0
// The list of coupons, and one coupon's campaign.

import { call, read } from "./api.js";
import { ask, say } from "./ask.js";
import { element, number, Poll, state, Table, time } from "./dom.js";
import { keysOf, lastOf, live, rates, values } from "./live.js";
import { Plot } from "./plot.js";

/** Numbers with a name. */
export class Tiles {
  constructor(...names) {
    this.values = names.map(() => element("b", {}, "–"));
    this.node = element("ul", { class: "tiles" },
      ...names.map((name, i) => element("li", {}, element("span", {}, name), this.values[i])));
  }

  update(...texts) {
    texts.forEach((text, i) => {
      if (this.values[i].textContent !== text) this.values[i].textContent = text;
    });
  }
}

/** What was accepted and issued at each sample. The rows of a coupon are read from a second after its first call on, and
 * are a second old. For the time before, the tickets that this couponsd has given tell what there was. */
function progress(samples, id) {
  const mine = samples.map((sample) => sample.campaigns.find((campaign) => campaign.id === id));
  const known = mine.findIndex((campaign) => campaign?.accepted !== undefined);
  if (known < 0) return { accepted: () => undefined, issued: () => undefined };
  const given = (i) => mine[i]?.answers.OK ?? 0;
  const before = Math.max(0, mine[known].accepted - given(known - 1));
  const places = new Map(samples.map((sample, i) => [sample, i]));
  const accepted = (i) => (i < known ? before + given(i - 1) : mine[i]?.accepted);
  const issued = (i) => (i < known ? Math.min(accepted(i), mine[known].issued) : mine[i]?.issued);
  return { accepted: (sample) => accepted(places.get(sample)), issued: (sample) => issued(places.get(sample)) };
}

const sum = (object) => Object.values(object ?? {}).reduce((a, b) => a + b, 0);
const ms = (value) => (value === null || value === undefined ? "–" : `${number(value)} ms`);
const perSecond = (points) => `${number(lastOf(points) ?? 0)}/s`;

function bar(left, quantity) {
  const inner = element("i");
  inner.style.width = `${(100 * left) / quantity}%`;
  return element("span", { class: "bar", "aria-hidden": "true" }, inner);
}

function leftOf(coupon) {
  const left = coupon.quantity - coupon.accepted;
  return element("span", {}, `${number(left)} of ${number(coupon.quantity)}`, bar(left, coupon.quantity));
}

export class Coupons {
  title = "Coupons";

  constructor() {
    this.tiles = new Tiles("Accepted", "Issued", "Refused", "In flight", "Answers, median", "Answers, 99 of 100 within");
    this.table = new Table("Coupons",
      [["Coupon", ""], ["Name", "text"], ["State", ""], ["Left", "number"], ["Accepted", "number"], ["Issued", "number"]],
      "There are no coupons yet. couponctl create makes one.");
    this.shown = new Map(); // by id, the highest first
    this.more = element("button", { type: "button", hidden: true, onclick: () => this.loadOlder() }, "Older coupons");
    const id = element("input", { inputmode: "numeric", pattern: "[0-9]+", required: true });
    const find = element("form", { class: "row", onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/coupon/${id.value}`;
    } }, element("label", {}, "Coupon's id", id), element("button", {}, "Open"));
    this.node = element("div", {}, element("h1", {}, "Coupons"), this.tiles.node, this.table.node,
      element("p", {}, this.more), find);
  }

  async loadOlder() {
    this.more.disabled = true;
    try {
      const page = await read("coupons", { before: [...this.shown.keys()].at(-1) });
      for (const coupon of page.coupons) this.shown.set(coupon.id, coupon);
      this.isMore = page.more;
    } catch (error) {
      say(error.message);
    }
    this.more.disabled = false;
    this.update();
  }

  update() {
    const { last, overview } = live;
    if (last) {
      const at = live.samples.slice(-3);
      this.tiles.update(perSecond(rates(at, (sample) => sample.accepted)), perSecond(rates(at, (sample) => sample.issued)),
        perSecond(rates(at, (sample) => sum(sample.refused))), number(last.in_flight), ms(last.p50_ms), ms(last.p99_ms));
    }
    if (!overview?.coupons) return;
    this.isMore ??= overview.more;
    this.more.hidden = !this.isMore;
    // Rows that newer coupons have pushed out of the overview stay.
    const all = new Map([...this.shown, ...overview.coupons.map((coupon) => [coupon.id, coupon])]);
    this.shown = new Map([...all].sort(([a], [b]) => (BigInt(a) < BigInt(b) ? 1 : -1)));
    this.table.update([...this.shown.values()].map((coupon) => [coupon.id, [
      element("a", { href: `#/coupon/${coupon.id}` }, coupon.id), coupon.name, state(coupon.state), leftOf(coupon),
      number(coupon.accepted), number(coupon.issued)]]));
  }
}

const CHANGES = [
  ["Pause", "PauseCoupon", "No more tickets are given until it is resumed. Tickets that were given stay valid.",
    (coupon) => ["OPEN", "NOT_OPEN", "SOLD_OUT"].includes(coupon.state), "is paused"],
  ["Resume", "ResumeCoupon", "Tickets are given again.", (coupon) => coupon.state === "PAUSED", "is resumed"],
  ["Close", "CloseCoupon", "No more tickets are ever given. This cannot be undone.",
    (coupon) => coupon.state !== "CLOSED", "is closed"],
];

export class Campaign {
  constructor(me, id) {
    this.id = BigInt(id).toString(); // without leading zeros
    this.me = me;
    this.title = `Coupon ${this.id}`;
    this.coupon = null;
    this.heading = element("h1", {}, this.title);
    this.state = element("p", {}, "…");
    this.tiles = new Tiles("Left", "Quantity", "Accepted", "Issued", "Asked", "Refused");
    this.actions = element("div", { class: "buttons" });
    this.plots = {
      asked: new Plot("Asked, accepted, issued", "/s"),
      refused: new Plot("Refused, by reason", "/s"),
      answer: new Plot("Time to the answer, all coupons", " ms"),
      queues: new Plot("Requests that wait, by stage"),
      lag: new Plot("Events that wait: relay and issue"),
    };
    this.tickets = new Table("Who got it", [["Ticket", "number"], ["User", "number"], ["State", ""], ["Accepted", ""], ["Issued", ""]],
      "Nobody has a ticket yet.");
    this.node = element("div", {}, this.heading, this.state, this.tiles.node, this.actions,
      element("div", { class: "plots" }, ...Object.values(this.plots).map((plot) => plot.node)),
      element("p", { class: "faint" }, "Accepted and issued are those of all couponsd; asked, refused, times and queues are those of this one."),
      ...this.whoGotIt(), ...this.person(), ...this.verification());
    this.poll = new Poll(2, (signal) => this.reload(signal));
    this.loadTickets();
  }

  leave() {
    this.poll.stop();
  }

  // The stream brings the newest coupons; older ones are asked for.
  async reload(signal) {
    const found = live.problem ? null : live.overview?.coupons?.find((coupon) => coupon.id === this.id);
    if (found) {
      this.take(found);
      return;
    }
    try {
      const page = await read("coupons", { upto: this.id, limit: 1 }, { signal });
      if (page.coupons[0]?.id === this.id) this.take(page.coupons[0]);
      else this.state.textContent = "There is no such coupon.";
    } catch (error) {
      if (!this.coupon && error.name !== "AbortError") this.state.textContent = error.message;
    }
  }

  take(coupon) {
    const before = this.coupon;
    this.coupon = coupon;
    this.heading.textContent = coupon.name ? `${coupon.name} (coupon ${coupon.id})` : this.title;
    const times = [coupon.open_time && `opens ${time(coupon.open_time)}`, coupon.expire_time && `expires ${time(coupon.expire_time)}`];
    const said = element("span", {}, state(coupon.state), ...times.filter(Boolean).map((text) => ` · ${text}`));
    if (!this.state.firstChild?.isEqualNode(said)) this.state.replaceChildren(said);
    if (before?.state !== coupon.state) this.offerChanges();
    const isNew = before && (before.accepted !== coupon.accepted || before.issued !== coupon.issued);
    if (isNew && !this.isPaging) this.loadTickets();
    this.update();
  }

  offerChanges() {
    const { coupon, me } = this;
    if (!me.may_change) {
      this.actions.replaceChildren(element("p", { class: "faint" }, me.is_open
        ? "To change coupons here, couponsd needs tokens: set access.tokens. couponctl can change them."
        : "To change this coupon, sign in with an admin's token."));
      return;
    }
    const buttons = CHANGES.filter(([, , , fits]) => fits(coupon)).map(([verb, method, text, , done]) =>
      element("button", { type: "button", class: verb === "Close" ? "danger" : null, onclick: async () => {
        await ask({ title: `${verb} coupon ${coupon.id}?`, text, verb, isDangerous: verb === "Close",
          method: `CouponAdminService/${method}`, request: { coupon_id: coupon.id }, done: () => `Coupon ${coupon.id} ${done}.` });
        this.ask();
      } }, verb));
    if (coupon.state !== "CLOSED") buttons.push(element("button", { type: "button", onclick: () => this.add() }, "Add"));
    this.actions.replaceChildren(...buttons);
  }

  // The request id makes a repeated click harmless.
  async add() {
    const { coupon } = this;
    await ask({ title: `Add to coupon ${coupon.id}`, text: `It has ${number(coupon.quantity)} now.`, verb: "Add",
      method: "CouponAdminService/AddQuantity", request: { coupon_id: coupon.id, request_id: crypto.randomUUID?.() ?? `${Date.now()}` },
      fields: [["quantity", "How many more", "100"]],
      done: (answer) => `Coupon ${coupon.id} has ${number(answer.coupon.quantity)} now.` });
    this.ask();
  }

  // After a change, the newest overview may still be from before it.
  async ask() {
    const page = await read("coupons", { upto: this.id, limit: 1 }).catch(() => null);
    if (page?.coupons[0]?.id === this.id) this.take(page.coupons[0]);
  }

  update() {
    const { samples } = live;
    const mine = (sample) => sample.campaigns.find((campaign) => campaign.id === this.id);
    const answers = (sample) => mine(sample)?.answers;
    const asked = (sample) => sum(answers(sample));
    const last = samples.length ? mine(samples.at(-1)) : null;
    const { coupon } = this;
    if (coupon) {
      const accepted = Math.max(coupon.accepted, last?.accepted ?? 0), issued = Math.max(coupon.issued, last?.issued ?? 0);
      const all = sum(last?.answers);
      this.tiles.update(number(coupon.quantity - accepted), number(coupon.quantity), number(accepted), number(issued),
        number(all), number(all - (last?.answers.OK ?? 0)));
    }
    if (!samples.length) return;
    const now = samples.at(-1).t;
    const reasons = keysOf(samples.slice(-1), answers).filter((name) => name !== "OK");
    const stages = keysOf(samples, (sample) => sample.queues);
    const { plots } = this;
    const { accepted, issued } = progress(samples, this.id);
    plots.asked.draw({
      asked: rates(samples, asked), accepted: rates(samples, accepted), issued: rates(samples, issued),
    }, now);
    plots.refused.draw(Object.fromEntries(reasons.map((name) =>
      [name.toLowerCase().replaceAll("_", " "), rates(samples, (sample) => answers(sample)?.[name] ?? 0)])), now);
    plots.answer.draw({ "median": values(samples, (sample) => sample.p50_ms), "99 of 100 within": values(samples, (sample) => sample.p99_ms) }, now);
    plots.queues.draw(Object.fromEntries((stages.length ? stages : ["admit"]).map((name) =>
      [name, values(samples, (sample) => sample.queues[name] ?? 0)])), now);
    plots.lag.draw({
      "requested, to Kafka": values(samples, (sample) => sample.relay_rows.requested ?? 0),
      "to be issued": values(samples, (sample) => sample.issue_messages),
      "published, to Kafka": values(samples, (sample) => sample.relay_rows.published ?? 0),
    }, now);
  }

  // --- who got it ---

  whoGotIt() {
    this.newest = true;
    this.after = [];
    const order = element("button", { type: "button", onclick: () => {
      this.newest = !this.newest;
      order.textContent = this.newest ? "From the first ticket" : "From the newest ticket";
      this.after = [];
      this.loadTickets();
    } }, "From the first ticket");
    this.back = element("button", { type: "button", hidden: true, onclick: () => { this.after.pop(); this.loadTickets(); } }, "Back");
    this.next = element("button", { type: "button", hidden: true, onclick: () => { this.after.push(this.lastTicket); this.loadTickets(); } }, "More");
    return [element("h2", {}, "Who got it"), this.tickets.node, element("p", { class: "buttons" }, order, this.back, this.next)];
  }

  async loadTickets() {
    const after = this.after.at(-1) ?? "0";
    this.isPaging = this.after.length > 0;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.back.disabled = this.next.disabled = true;
    try {
      const page = await read("tickets", { coupon_id: this.id, after, newest: this.newest });
      if (turn !== this.turn) return; // a later question counts
      this.lastTicket = page.tickets.at(-1)?.ticket;
      this.back.hidden = !this.after.length;
      this.next.hidden = !page.more;
      this.tickets.update(page.tickets.map((ticket) => [ticket.ticket, [ticket.ticket,
        element("a", { href: `#/people/${ticket.user_id}` }, ticket.user_id), state(ticket.state), time(ticket.accept_time),
        time(ticket.issue_time)]]));
    } catch {
      // The header says what is wrong; the next change loads them again.
    }
    if (turn === this.turn) this.back.disabled = this.next.disabled = false;
  }

  // --- a person ---

  person() {
    const user = element("input", { inputmode: "numeric", pattern: "[0-9]+", required: true });
    const result = element("p", { role: "status" });
    const form = element("form", { class: "row", onsubmit: async (event) => {
      event.preventDefault();
      try {
        const { status } = await call("CouponService/GetStatus", { coupon_id: this.id, user_id: user.value });
        result.replaceChildren(`User ${status.user_id}: `, state(status.state),
          ` · ticket ${status.ticket} · accepted ${time(status.accept_time)}`,
          status.issue_time ? ` · issued ${time(status.issue_time)}` : "");
      } catch (error) {
        result.textContent = error.reason === "REQUEST_NOT_FOUND" ? `User ${user.value} has no ticket of this coupon.` : error.message;
      }
    } }, element("label", {}, "User's id", user), element("button", {}, "Look up"));
    return [element("h2", {}, "A person"), form, result];
  }

  // --- verify ---

  verification() {
    const checks = new Table("Checks", [["Check", ""], ["Result", ""], ["What was found", "text"]], "");
    const said = element("p", { role: "status" });
    const button = element("button", { type: "button", onclick: async () => {
      button.disabled = true;
      said.textContent = "Reading all rows and events of the coupon …";
      try {
        const answer = await call("IntegrityService/VerifyCoupon", { coupon_id: this.id });
        checks.update(answer.checks.map((check) => [check.name, [check.name, state(check.result), check.detail]]));
        const failed = answer.checks.filter((check) => check.result === "FAILED").length;
        said.textContent = failed ? `${failed} of ${answer.checks.length} checks do not hold.` : `All ${answer.checks.length} checks ran; none failed.`;
      } catch (error) {
        said.textContent = error.message;
      }
      button.disabled = false;
    } }, "Verify");
    return [element("h2", {}, "Verify"), element("p", { class: "faint" }, "Compares what each stage has stored, from the ledger to the topics."),
      element("p", {}, button), said, checks.node];
  }
}
