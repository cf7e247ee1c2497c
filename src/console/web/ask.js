// SPDX-License-Identifier: Apache-2.0
// Dialogs: signing in, and asking before something is changed.

import { change } from "./api.js";
import { element } from "./dom.js";

const $ = (id) => document.getElementById(id);

for (const button of document.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => button.closest("dialog").close("cancel"));

const openings = new Map(); // dialog to a function that ends its last opening

/** Opens a dialog. Each "ok" runs `submit`; the dialog stays open with its message if that throws. Returns a promise of
 * whether it has succeeded. If the dialog was left meanwhile, a late failure is said on the page. */
function open(dialog, error, submit) {
  const form = dialog.querySelector("form");
  const ok = form.querySelector("button.primary");
  openings.get(dialog)?.(); // it was left, but its event may still be on its way
  error.textContent = "";
  ok.disabled = false;
  return new Promise((done) => {
    let isOpen = true, isPending = false;
    const end = () => {
      isOpen = false;
      form.removeEventListener("submit", onSubmit);
      dialog.removeEventListener("close", onClose);
      if (!isPending) done(false);
    };
    const onClose = () => {
      if (!dialog.open) end(); // otherwise the event is that of an earlier opening
    };
    const onSubmit = async (event) => {
      event.preventDefault();
      ok.disabled = isPending = true;
      try {
        await submit();
        done(true);
        if (isOpen) dialog.close();
        return;
      } catch (problem) {
        if (isOpen) error.textContent = problem.message;
        else say(problem.message);
      }
      isPending = false;
      if (isOpen) ok.disabled = false;
      else done(false);
    };
    openings.set(dialog, end);
    form.addEventListener("submit", onSubmit);
    dialog.addEventListener("close", onClose);
    dialog.showModal();
    (form.querySelector("input") ?? form.querySelector("button.primary:not(.danger)"))?.focus(); // else it is on Cancel
  });
}

export function askForToken(use) {
  $("token").value = "";
  return open($("signing"), $("signing-error"), () => use($("token").value.trim()));
}

export function say(text) {
  $("said").textContent = text;
}

/** Asks, changes, and says what came of it. `fields`: [name, label, value] of numbers to be given. */
export async function ask({ title, text, verb, isDangerous, method, request = {}, fields = [], done }) {
  const inputs = fields.map(([name, label, value]) => [name, element("input", {
    inputmode: "numeric", pattern: "[0-9]+", required: true, name, value }), label]);
  $("asking-title").textContent = title;
  $("asking-text").textContent = text;
  $("asking-fields").replaceChildren(...inputs.map(([, input, label]) => element("label", {}, label, input)));
  $("asking-ok").textContent = verb;
  $("asking-ok").classList.toggle("danger", Boolean(isDangerous));
  say("");
  let answer;
  const ok = await open($("asking"), $("asking-error"), async () => {
    answer = await change(method, { ...request, ...Object.fromEntries(inputs.map(([name, input]) => [name, input.value])) });
  });
  if (ok) say(done(answer));
  return ok;
}
