// SPDX-License-Identifier: Apache-2.0
// People, topics, dead letters and health.

import { call } from "./api.js";
import { ask } from "./ask.js";
import { duration, element, number, Poll, state, Table, time } from "./dom.js";
import { keysOf, live, values } from "./live.js";
import { Plot } from "./plot.js";

const onlyAdmins = (me) => element("p", { class: "faint" }, me.is_open
  ? "To change things here, couponsd needs tokens: set access.tokens."
  : "To change things here, sign in with an admin's token.");

/** A view that reads something once, and says what went wrong. */
class Reading {
  constructor(title) {
    this.title = title;
    this.problem = element("p", { role: "alert" });
  }

  update() {}

  async try(work) {
    try {
      await work();
      this.problem.textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") this.problem.textContent = error.message;
    }
  }
}

export class People extends Reading {
  constructor(me, id = "") {
    super("People");
    const user = element("input", { inputmode: "numeric", pattern: "[0-9]+", required: true, value: id });
    const form = element("form", { class: "row", onsubmit: (event) => {
      event.preventDefault();
      if (location.hash === `#/people/${user.value}`) this.load(user.value);
      else location.hash = `#/people/${user.value}`;
    } }, element("label", {}, "User's id", user), element("button", {}, "Look up"));
    this.table = new Table("Coupons of the user", [["Coupon", ""], ["Ticket", "number"], ["Issued", ""]],
      id ? "This user holds no coupon." : "");
    this.more = element("button", { type: "button", hidden: true, onclick: () => this.load(id) }, "More");
    this.rows = [];
    this.node = element("div", {}, element("h1", {}, id ? `User ${id}` : "People"), form, this.problem, this.table.node,
      element("p", {}, this.more));
    if (id) this.load(id);
  }

  load(id) {
    return this.try(async () => {
      const page = await call("CouponService/ListUserCoupons", { user_id: id, page_token: this.next ?? "" });
      this.rows.push(...page.user_coupons);
      this.next = page.next_page_token;
      this.more.hidden = !this.next;
      this.table.update(this.rows.map((row) => [row.coupon_id,
        [element("a", { href: `#/coupon/${row.coupon_id}` }, row.coupon_id), row.ticket, time(row.issue_time)]]));
    });
  }
}

export class Topics extends Reading {
  constructor(me) {
    super("Topics");
    this.me = me;
    this.migration = element("p", { role: "status" });
    this.table = new Table("Topics", [["Topic", ""], ["State", ""], ["Partitions", "number"], ["Lanes", "number"], ["Not read yet", "number"]],
      "There are no topics.");
    this.actions = element("div", { class: "buttons" });
    this.node = element("div", {}, element("h1", {}, "Topics"), this.problem, this.migration, this.table.node, this.actions);
    this.poll = new Poll(2, (signal) => this.load(signal));
  }

  leave() {
    this.poll.stop();
  }

  load(signal) {
    return this.try(async () => {
      const { topics, migration } = await call("TopicAdminService/ListTopics", {}, { signal });
      this.table.update(topics.map((topic) => [topic.name, [topic.name, state(topic.state),
        topic.created_partitions && topic.created_partitions !== topic.partitions
          ? `${number(topic.partitions)} (created with ${number(topic.created_partitions)})` : number(topic.partitions),
        number(topic.lanes), number(topic.lag)]]));
      const isDone = migration.lanes_moved === migration.lanes;
      this.migration.textContent = isDone ? `All ${number(migration.lanes)} lanes publish to version ${migration.target_version}.`
        : `${migration.paused ? "Paused: " : ""}${number(migration.lanes_moved)} of ${number(migration.lanes)} lanes publish to version ${migration.target_version}.`;
      this.offer(migration, isDone);
    });
  }

  offer(migration, isDone) {
    const said = JSON.stringify([migration.target_version, migration.paused, isDone]);
    if (this.offered === said) return;
    this.offered = said;
    if (!this.me.may_change) {
      this.actions.replaceChildren(onlyAdmins(this.me));
      return;
    }
    const migrate = element("button", { type: "button", onclick: async () => {
      await ask({ title: "Migrate the topics", verb: "Migrate",
        text: "Creates the missing topics of a version, then moves the lanes to it one by one while requests keep coming.",
        method: "TopicAdminService/MigrateTopics",
        fields: [["version", "Version", String(isDone ? migration.target_version + 1 : migration.target_version)], ["partitions", "Partitions of new topics", "12"]],
        done: (answer) => `The lanes move to version ${answer.migration.target_version}.` });
      this.load();
    } }, isDone ? "Migrate" : "Go on or go back");
    const pause = element("button", { type: "button", disabled: isDone || migration.paused, onclick: async () => {
      await ask({ title: "Pause the migration?", verb: "Pause", text: "Each lane stays at its version until somebody goes on.",
        method: "TopicAdminService/PauseMigration", done: () => "The migration is paused." });
      this.load();
    } }, "Pause");
    this.actions.replaceChildren(migrate, pause);
  }
}

export class Letters extends Reading {
  constructor(me) {
    super("Dead letters");
    this.me = me;
    this.rows = [];
    this.table = new Table("Dead letters",
      [["Id", ""], ["Coupon", ""], ["Why", "text"], ["Topic, partition, offset", ""], ["Put aside", ""], ["Replayed", ""], ["", ""]],
      "There are no dead letters: every event could be handled.");
    this.more = element("button", { type: "button", hidden: true, onclick: () => this.load() }, "More");
    this.node = element("div", {}, element("h1", {}, "Dead letters"),
      element("p", { class: "faint" }, "Events that could not be handled, and were put aside so that others could go on."),
      this.problem, this.table.node, element("p", {}, this.more), me.may_change ? "" : onlyAdmins(me));
    this.load();
  }

  reload() {
    this.rows = [];
    this.next = "";
    return this.load();
  }

  load() {
    return this.try(async () => {
      const page = await call("DeadLetterAdminService/ListDeadLetters", { page_token: this.next ?? "" });
      this.rows.push(...page.dead_letters);
      this.next = page.next_page_token;
      this.more.hidden = !this.next;
      this.table.update(this.rows.map((letter) => [letter.id, [letter.id,
        letter.coupon_id === "0" ? "–" : element("a", { href: `#/coupon/${letter.coupon_id}` }, letter.coupon_id),
        letter.reason, `${letter.topic}, ${letter.partition}, ${letter.offset}`, time(letter.create_time), time(letter.replay_time),
        this.me.may_change ? this.buttons(letter) : ""]]));
    });
  }

  buttons(letter) {
    const change = (options) => async () => {
      await ask({ request: { first_id: letter.id }, ...options });
      this.reload();
    };
    return element("span", { class: "buttons" },
      element("button", { type: "button", onclick: change({ title: `Replay dead letter ${letter.id}?`, verb: "Replay",
        text: "Sends its event again. Nothing is issued twice.", method: "DeadLetterAdminService/ReplayDeadLetters",
        done: ({ replays: [replay] }) => `Dead letter ${letter.id}: ${replay?.outcome.toLowerCase() ?? "gone"}. ${replay?.detail ?? ""}` }) }, "Replay"),
      element("button", { type: "button", class: "danger", onclick: change({ title: `Drop dead letter ${letter.id}?`, verb: "Drop",
        text: "Deletes it for good.", isDangerous: true, method: "DeadLetterAdminService/DropDeadLetters",
        done: ({ dropped }) => `${number(dropped)} dead letter dropped.` }) }, "Drop"));
  }
}

const BACKENDS = { postgres: "Postgres", redis: "Redis", kafka: "Kafka" };
const SEEN_S = 15; // couponsd tells every 5 s

export class Health {
  title = "Health";

  constructor() {
    this.ready = element("p");
    this.backends = new Table("Backends", [["Backend", ""], ["State", ""], ["Last failure of a stage", ""], ["What was said", "text"]], "");
    this.instances = new Table("couponsd", [["Host", ""], ["State", ""], ["gRPC", ""], ["HTTP", ""], ["Version", ""], ["Runs since", ""]],
      "No couponsd has told that it runs.");
    this.plots = [new Plot("Calls in flight"), new Plot("Requests that wait, by stage"), new Plot("Events that wait: relay and issue")];
    this.node = element("div", {}, element("h1", {}, "Health"), this.ready, element("h2", {}, "Backends"), this.backends.node,
      element("h2", {}, "All couponsd of this database"), this.instances.node, element("h2", {}, "This couponsd"),
      element("div", { class: "plots" }, ...this.plots.map((plot) => plot.node)));
  }

  update() {
    const { last, overview, samples } = live;
    if (last) {
      this.ready.textContent = last.ready_text;
      this.backends.update(last.backends.map((backend) => [backend.name, [BACKENDS[backend.name], state(backend.failed ? "DOWN" : "UP"),
        time(backend.last_time), backend.text || "–"]]));
      const stages = keysOf(samples, (sample) => sample.queues);
      this.plots[0].draw({ "in flight": values(samples, (sample) => sample.in_flight) }, last.t);
      this.plots[1].draw(Object.fromEntries((stages.length ? stages : ["admit"]).map((name) =>
        [name, values(samples, (sample) => sample.queues[name] ?? 0)])), last.t);
      this.plots[2].draw({
        "requested, to Kafka": values(samples, (sample) => sample.relay_rows.requested ?? 0),
        "to be issued": values(samples, (sample) => sample.issue_messages),
        "published, to Kafka": values(samples, (sample) => sample.relay_rows.published ?? 0),
      }, last.t);
    }
    if (overview?.instances)
      this.instances.update(overview.instances.map((each) => [each.host + each.grpc + each.start_time, [
        each.self ? `${each.host} (this one)` : each.host,
        each.seen_s < SEEN_S ? state("UP") : element("span", { class: "state bad" }, `not heard of for ${duration(each.seen_s)}`),
        each.grpc, each.http, each.version, time(each.start_time)]]));
  }
}
