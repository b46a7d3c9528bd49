// What the model was about to say: every token that might have come, reshaped live by the sampling settings.

import { fill, h } from "./dom.js";
import { reshape } from "./reshape.js";
import { nameOf, spoken, visible } from "./tokens.js";
import { button, count, percent, slider } from "./ui.js";

const SHOWN = 12;
const MORE = 200;

/** Return a panel: { node, show(distribution, heading) }.
 *
 * sampling: where the sliders stand, { temperature, topK, topP }. onsample(sampling): they were moved.
 * oncontinue(id, piece, special): the reader wants the text to go on from this token instead; null where that cannot be.
 * distribution: { pieces, ids, special, logprobs, left, actual } of the server. */
export function distributionPanel({ sampling, onsample = () => {}, oncontinue = null }) {
  const state = { ...sampling };
  const rows = h("ol", { class: "bars" });
  const summary = h("p", { class: "small quiet", "aria-live": "off" });
  const heading = h("p", { class: "lead" });
  const more = button("", () => ((whole = !whole), draw()), { kind: "link" });
  let given = null;
  let whole = false;
  const moved = (key) => (value) => {
    state[key] = value;
    onsample({ ...state });
    draw();
  };
  const sliders = [
    slider("Temperature", { min: 0, max: 2, step: 0.05, value: state.temperature, format: (t) => t.toFixed(2), oninput: moved("temperature") }),
    slider("Top-k", { min: 0, max: 50, step: 1, value: state.topK, format: (k) => (k ? String(k) : "off"), oninput: moved("topK") }),
    slider("Top-p", { min: 0.05, max: 1, step: 0.05, value: state.topP, format: (p) => (p < 1 ? p.toFixed(2) : "off"), oninput: moved("topP") }),
  ];
  const node = h("div", { class: "distribution stack" }, heading, h("div", { class: "knobs" }, sliders), rows,
    h("p", { class: "small quiet" }, h("span", { class: "key before" }), "the model's own ", h("span", { class: "key now" }), "with these settings"),
    h("div", { class: "row between" }, summary, more));

  function draw() {
    if (!given) return;
    const { logprobs, left, pieces } = given;
    const shaped = reshape(logprobs, left, state);
    const at = given.ids.indexOf(given.actual);
    const n = Math.min(pieces.length, whole ? MORE : SHOWN);
    const shown = Array.from({ length: n }, (_, each) => each);
    if (at >= n) shown.push(at);
    const most = Math.max(shaped.probabilities[0], Math.exp(logprobs[0]));
    while (rows.children.length < shown.length) rows.append(row());
    while (rows.children.length > shown.length) rows.lastChild.remove();
    shown.forEach((each, place) => rows.children[place].show(each, shaped.probabilities[each], most, each === at));
    const bits = shaped.entropy.toFixed(2);
    summary.textContent = `${count(shaped.kept)} of ${count(pieces.length + left.n)} tokens can be sampled; entropy ${bits} bits.${others(left)}`;
    more.hidden = pieces.length <= SHOWN;
    more.textContent = whole ? "Fewer" : pieces.length > MORE ? `Show ${MORE}` : `Show all ${pieces.length}`;
  }

  function row() {
    const sign = h("span", { class: "piece" });
    const before = h("span", { class: "before" });
    const bar = h("span", { class: "now" });
    const share = h("span", { class: "number" });
    const inside = [sign, h("span", { class: "track", "aria-hidden": true }, before, bar), share];
    let here = -1;
    const act = () => oncontinue(given.ids[here], given.pieces[here], given.special[here]);
    const line = oncontinue ? h("button", { type: "button", class: "bar-row", onclick: act }, inside) : h("span", { class: "bar-row" }, inside);
    const item = h("li", {}, line);
    item.show = (each, probability, most, isActual) => {
      here = each;
      const plain = Math.exp(given.logprobs[each]);
      const piece = nameOf(given.pieces[each], given.special[each]);
      sign.textContent = visible(piece);
      sign.classList.toggle("special", given.special[each]);
      before.style.width = `${(100 * plain) / most}%`;
      bar.style.width = `${(100 * probability) / most}%`;
      share.textContent = probability ? percent(probability) : "cut";
      item.classList.toggle("actual", isActual);
      item.classList.toggle("cut", !probability);
      if (!oncontinue) return;
      line.disabled = isActual;
      line.title = isActual ? "this is what was written" : "continue from this one instead";
      const what = isActual ? "as written" : "continue from this one instead";
      line.setAttribute("aria-label", `${spoken(piece)}, ${share.textContent}: ${what}`);
    };
    return item;
  }

  return {
    node,
    /** Show a distribution under a heading. */
    show(distribution, ...told) {
      given = distribution;
      fill(heading, told);
      draw();
    },
  };
}

function others(left) {
  return left.n ? ` The ${count(left.n)} least likely, ${percent(left.mass)} together, are taken as equal.` : "";
}
