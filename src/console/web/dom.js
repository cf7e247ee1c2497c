// SPDX-License-Identifier: Apache-2.0
// Elements, and numbers and times in the reader's locale.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const moment = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  fractionalSecondDigits: 3,
});

/** Makes an element. A property that begins with "on" is a listener; false, null and undefined leave it out. */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(Number(value))) return "–";
  return Math.abs(value) < 100 && !Number.isInteger(Number(value)) ? precise.format(value) : whole.format(value);
}

export function time(text) {
  return text ? moment.format(new Date(text)) : "–";
}

/** A duration in seconds, in words. */
export function duration(seconds) {
  if (seconds < 120) return `${whole.format(seconds)} s`;
  if (seconds < 5400) return `${whole.format(seconds / 60)} min`;
  if (seconds < 129600) return `${whole.format(seconds / 3600)} h`;
  return `${whole.format(seconds / 86400)} days`;
}

const WORDS = {
  OPEN: ["open", "good"], SOLD_OUT: ["sold out", "off"], NOT_OPEN: ["not open yet", "warn"], PAUSED: ["paused", "warn"],
  CLOSED: ["closed", "off"], EXPIRED: ["expired", "off"], FROZEN: ["frozen: more issued than exist", "bad"],
  ISSUED: ["issued", "good"], ACCEPTED: ["accepted, being issued", "warn"], REJECTED: ["rejected", "bad"],
  OK: ["holds", "good"], FAILED: ["does not hold", "bad"], SKIPPED: ["could not run", "warn"],
  UP: ["works", "good"], DOWN: ["not reachable", "bad"],
};

/** A state in words, with a mark and a color. */
export function state(name) {
  const [text, kind] = WORDS[name] ?? [String(name).toLowerCase().replaceAll("_", " "), "off"];
  return element("span", { class: `state ${kind}` }, text);
}

/** A table that can be scrolled sideways, and stays under the reader's hands: an update touches only what has changed.
 * `columns`: [title, kind], where kind is "", "number" or "text". The first cell of a row is its header. */
export class Table {
  constructor(caption, columns, ifNone) {
    this.columns = columns;
    this.rows = new Map();
    this.none = element("p", { class: "faint" }, ifNone);
    const head = columns.map(([title, kind]) => element("th", { scope: "col", class: kind || null }, title));
    this.body = element("tbody");
    this.frame = element("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
      element("table", {}, element("thead", {}, element("tr", {}, ...head)), this.body));
    this.node = element("div", {}, this.none, this.frame);
    this.update([]);
  }

  /** `rows`: [key, cells], where a cell is a text or an element. */
  update(rows) {
    this.none.hidden = rows.length > 0;
    this.frame.hidden = rows.length === 0;
    const before = this.rows;
    this.rows = new Map();
    for (const [key, cells] of rows) {
      const row = before.get(key) ?? this.newRow();
      cells.forEach((cell, i) => {
        const made = typeof cell === "string" ? new Text(cell) : cell;
        const old = row.cells[i].firstChild;
        if (!old || !old.isEqualNode(made)) row.cells[i].replaceChildren(made);
      });
      this.rows.set(key, row);
    }
    for (const [key, row] of before) if (!this.rows.has(key)) row.remove();
    let at = this.body.firstElementChild;
    for (const row of this.rows.values()) {
      if (row === at) at = at.nextElementSibling;
      else this.body.insertBefore(row, at);
    }
  }

  newRow() {
    return element("tr", {}, ...this.columns.map(([, kind], i) =>
      element(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: kind || null })));
  }
}

/** Runs `work(signal)` now and again, each time some seconds after its last end, until stop(). A run that is under way is
 * aborted then. */
export class Poll {
  #abort = new AbortController();

  constructor(seconds, work) {
    this.seconds = seconds;
    this.work = work;
    this.#run();
  }

  async #run() {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.work(signal);
      await new Promise((done) => setTimeout(done, this.seconds * 1000));
    }
  }

  stop() {
    this.#abort.abort();
  }
}
