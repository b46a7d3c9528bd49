// Parts that all views use.

import { h, newId } from "./dom.js";

/** Return a button. options: kind ("primary" | "plain" | "link"), and properties of `h`. */
export function button(label, onclick, { kind = "plain", ...properties } = {}) {
  return h("button", { type: "button", class: kind, onclick, ...properties }, label);
}

/** Return a labelled control, with a hint below it. */
export function field(label, control, hint = null) {
  const id = (control.id ||= newId("field"));
  const told = hint && h("small", { id: `${id}-hint`, class: "quiet" }, hint);
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, told);
}

/** Return a slider with its value beside it, as a field.
 *
 * options: min, max, step, value, format (value -> text), oninput (value), hint. The node has `get()` and `set(value)`. */
export function slider(label, { min, max, step, value, format = String, oninput = () => {}, hint = null }) {
  const id = newId("slider");
  const output = h("output", { for: id }, format(value));
  const input = h("input", { id, type: "range", min, max, step, value, "aria-valuetext": format(value) });
  const show = () => {
    output.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => (show(), oninput(Number(input.value))));
  const node = h(
    "div", { class: "field slider" },
    h("div", { class: "row between" }, h("label", { for: id }, label), output), input, hint && h("small", { class: "quiet" }, hint),
  );
  return Object.assign(node, { get: () => Number(input.value), set: (given) => ((input.value = given), show()) });
}

/** Return a choice of one of few, as radio buttons that look like one switch. options: [[value, label], …]. */
export function choice(legend, options, value, onchange) {
  const name = newId("choice");
  return h(
    "fieldset", { class: "choice" }, h("legend", { class: "hidden" }, legend),
    options.map(([each, label]) =>
      h("label", {}, h("input", { type: "radio", name, value: each, checked: each === value, onchange: () => onchange(each) }),
        h("span", {}, label))),
  );
}

/** Return a choice of models. options: models (of the server's list), value (an id), onchange (model), label. */
export function modelPicker({ models, value, onchange, label = "Model" }) {
  const select = h(
    "select", { "aria-label": label, onchange: () => onchange(models.find((model) => model.id === select.value)) },
    models.map((model) => h("option", { value: model.id, selected: model.id === value }, model.id)),
  );
  return h("div", { class: "picker" }, select);
}

/** Return what says that something went wrong. error: an ApiError or any other. */
export function problem(error, again = null) {
  const wait = error.retryAfter ? ` Try again in ${error.retryAfter} seconds.` : "";
  return h("p", { class: "problem", role: "alert" }, `${error.message}${wait} `, again && button("Try again", again, { kind: "link" }));
}

/** Return what a view shows where there is nothing yet. */
export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("h2", {}, title), children);
}

/** Return a text with a capital letter at its beginning. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Format a probability: 12%, 3.4%, 0.02%. */
export function percent(probability) {
  const value = 100 * probability;
  if (value > 0 && value < 0.01) return "<0.01%";
  return `${value >= 99.95 || value === 0 ? Math.round(value) : value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)}%`;
}

/** Format a count: 950, 12,300, 2.7 M. */
export function count(n) {
  return n >= 1e6 ? `${(n / 1e6).toFixed(n >= 1e7 ? 0 : 1)} M` : n.toLocaleString("en");
}
