// SPDX-License-Identifier: Apache-2.0
// Line plots over the last one to five minutes, on a canvas, with a caption that says the newest values in words and numbers.

import { duration, element, number } from "./dom.js";

const LEAST_S = 60, MOST_S = 300; // of time that is shown
const KEYS = 6;

/** A plot of series against time. `unit` stands behind the values, for example "/s". */
export class Plot {
  constructor(title, unit = "") {
    this.unit = unit;
    this.series = new Map(); // name to [[ms, value]]
    this.canvas = element("canvas", { role: "img", "aria-label": title });
    this.caption = element("figcaption");
    this.node = element("figure", {}, element("h3", {}, title), this.canvas, this.caption);
  }

  /** `series`: an object of arrays of [ms, value]; a value of null leaves a gap. */
  draw(series, now) {
    this.series = new Map(Object.entries(series).slice(0, KEYS));
    this.describe();
    const box = this.canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    if (!box.width) return;
    this.canvas.width = Math.round(box.width * scale);
    this.canvas.height = Math.round(box.height * scale);
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const top = this.top();
    const area = { left: 4, right: box.width - 4, top: 16, bottom: box.height - 4 };
    const first = Math.min(now, ...[...this.series.values()].flatMap((points) => points.slice(0, 1).map(([ms]) => ms)));
    const seconds = Math.min(MOST_S, Math.max(LEAST_S, (now - first) / 1000));
    const x = (ms) => area.right - ((now - ms) / (seconds * 1000)) * (area.right - area.left);
    const y = (value) => area.bottom - (value / top) * (area.bottom - area.top);

    pen.font = "11px system-ui, sans-serif";
    pen.strokeStyle = color("--line");
    pen.fillStyle = color("--faint");
    pen.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      pen.beginPath();
      pen.moveTo(area.left, y(top * part));
      pen.lineTo(area.right, y(top * part));
      pen.stroke();
    }
    pen.fillText(number(top) + this.unit, area.left, area.top - 4);
    pen.textAlign = "right";
    pen.fillText(`last ${duration(seconds)}`, area.right, area.top - 4);
    let key = 0;
    for (const points of this.series.values()) {
      pen.strokeStyle = color(`--plot-${++key}`);
      pen.lineWidth = 1.75;
      pen.beginPath();
      let isOn = false;
      for (const [ms, value] of points) {
        if (value === null || value === undefined || x(ms) < area.left) {
          isOn = false;
          continue;
        }
        if (isOn) pen.lineTo(x(ms), y(value));
        else pen.moveTo(x(ms), y(value));
        isOn = true;
      }
      pen.stroke();
    }
  }

  /** A round number that no value exceeds. */
  top() {
    let most = 0;
    for (const points of this.series.values()) for (const [, value] of points) most = Math.max(most, value ?? 0);
    if (most <= 0) return 1;
    const unit = 10 ** Math.floor(Math.log10(most));
    return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= most);
  }

  describe() {
    const items = [...this.series].map(([name, points], key) => {
      const last = points.length ? points[points.length - 1][1] : null;
      const text = last === null || last === undefined ? "–" : number(last) + this.unit;
      return element("span", {}, element("i", { class: `key-${key}` }), `${name} ${text}`);
    });
    this.caption.replaceChildren(...(items.length ? items : [element("span", { class: "faint" }, "nothing yet")]));
  }
}
