// SPDX-License-Identifier: Apache-2.0
// The stream of events, and the samples of the last minutes.

import { send } from "./api.js";

const SAMPLES_MAX = 300;
const SILENCE_MS = 5000; // a sample comes every second
const HIDDEN_MS = 3000;

export const CONNECTING = "connecting", SIGNED_OUT = "signed out";

/** A tab that nobody sees lets go of its stream after a moment: browsers have few connections for a host. */
class Live extends EventTarget {
  samples = [];
  overview = null;
  problem = CONNECTING; // "": events come
  #isWanted = false;
  #abort = null;

  constructor() {
    super();
    let timer = 0;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => this.#stop(), HIDDEN_MS);
      else if (this.#isWanted && !this.#abort) this.connect();
    });
  }

  /** Begins, or begins again with another token. */
  connect() {
    this.#stop();
    this.#isWanted = true;
    this.#abort = new AbortController();
    this.#run(this.#abort.signal);
  }

  #stop() {
    this.#abort?.abort();
    this.#abort = null;
  }

  disconnect() {
    this.#stop();
    this.#isWanted = false;
    this.samples = [];
    this.overview = null;
    this.#tell(SIGNED_OUT);
  }

  get last() {
    return this.samples.at(-1);
  }

  async #run(signal) {
    while (!signal.aborted) {
      try {
        await this.#read(signal);
        this.#tell("couponsd has ended the stream; connecting again");
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 401 || error.status === 403) {
          this.#tell(error.message);
          return;
        }
        this.#tell(error.status ? error.message : "couponsd is not reachable; trying again");
      }
      await new Promise((done) => setTimeout(done, 1000));
    }
  }

  async #read(signal) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener("abort", stop);
    let heard = Date.now();
    const watch = setInterval(() => Date.now() - heard > SILENCE_MS && stop(), 1000);
    try {
      const answer = await send("stream", { signal: attempt.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      this.samples = [];
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard = Date.now();
        const events = (text + value).split("\n\n");
        text = events.pop();
        for (const event of events) this.#take(event);
        this.#tell("");
      }
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", stop);
    }
  }

  #take(event) {
    const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? []; // s: data may have a U+2028
    if (kind === "sample") {
      this.samples.push(JSON.parse(data));
      if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    } else if (kind === "overview") {
      this.overview = { ...this.overview, coupons_error: "", instances_error: "", ...JSON.parse(data) };
    }
  }

  #tell(problem) {
    this.problem = problem;
    this.dispatchEvent(new Event("change"));
  }
}

export const live = new Live();

/** Points [ms, per second] of a count that grows. `value` gets a sample and returns the count, or undefined. */
export function rates(samples, value) {
  const points = [];
  for (let i = 1; i < samples.length; i++) {
    const [a, b] = [value(samples[i - 1]), value(samples[i])];
    const seconds = (samples[i].t - samples[i - 1].t) / 1000;
    const isKnown = a !== undefined && b !== undefined && b >= a && seconds > 0 && seconds < 10;
    points.push([samples[i].t, isKnown ? (b - a) / seconds : null]);
  }
  return points;
}

/** Points [ms, value]. */
export const values = (samples, value) => samples.map((sample) => [sample.t, value(sample) ?? null]);

export const lastOf = (points) => points.at(-1)?.[1];

/** The keys of objects in samples, those with the greatest value first. */
export function keysOf(samples, object) {
  const most = new Map();
  for (const sample of samples)
    for (const [key, value] of Object.entries(object(sample) ?? {})) most.set(key, Math.max(most.get(key) ?? 0, value));
  return [...most.keys()].sort((a, b) => most.get(b) - most.get(a));
}
