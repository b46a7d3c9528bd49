// Where every head looked: small multiples of all layers and heads, then one of them.

import { fill, h } from "./dom.js";
import { paintMap } from "./headmap.js";
import { visible } from "./tokens.js";
import { button, percent } from "./ui.js";

const WORDS = {
  previous: "the token before", first: "the first token", itself: "its own token", same: "the same token, earlier", after: "what followed it before",
};
const TAKES = 0.4;
const LISTED = 5;

/** Return the weights of the server, packed as 65,535ths in base 64, as numbers from 0 to 1. */
export function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(2 * at, true) / 65535);
}

/** Return a section: { node, show(attention, pieces), heads }.
 *
 * onhead(layer, head, weights): a head was chosen. onswitch(off): heads were switched off or on, a list of pairs.
 * onmeasure(report): measure every head, and report(layer, head, change) as it goes. onmap(layer, head): return its map. */
export function attentionSection({ onhead, onswitch, onmeasure, onmap }) {
  const grid = h("div", { class: "heads" });
  const detail = h("div", { class: "head-detail stack" });
  const measure = button("Measure the effect of each head", async () => {
    measure.disabled = true;
    await onmeasure((layer, head, change) => cellOf(layer, head)?.tell(change)).finally(() => (measure.disabled = false));
  });
  const node = h(
    "section", { class: "stack", "aria-labelledby": "heads-title" },
    h("h2", { id: "heads-title" }, "Where it looked"),
    h("p", { class: "quiet" }, "A row for each layer, a picture for each head: how much it looked at each token, first to last, to predict the chosen one."),
    h("div", { class: "attention" }, h("div", { class: "stack" }, h("div", { class: "heads-scroll", tabindex: 0, role: "group", "aria-label": "All heads" }, grid), h("div", { class: "row" }, measure)), detail),
  );
  const section = { node, off: [] };
  let chosen = [0, 0];
  let shown = null;
  let cells = [];
  const cellOf = (layer, head) => cells[layer]?.[head];
  const isOff = (layer, head) => section.off.some(([l, each]) => l === layer && each === head);

  function build(L, H) {
    grid.style.setProperty("--heads", H);
    cells = Array.from({ length: L }, (_, layer) => Array.from({ length: H }, (_, head) => headCell(layer, head, () => choose(layer, head))));
    fill(grid, cells.map((row, layer) => [h("span", { class: "quiet small layer" }, `Layer ${layer + 1}`), row.map((cell) => cell.node)]));
  }

  function choose(layer, head) {
    cellOf(...chosen)?.node.setAttribute("aria-pressed", "false");
    chosen = [layer, head];
    cellOf(layer, head).node.setAttribute("aria-pressed", "true");
    const weights = shown.of(layer, head);
    onhead(layer, head, weights);
    describe(layer, head, weights);
  }

  function describe(layer, head, weights) {
    const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, LISTED);
    const { looks } = shown;
    const off = isOff(layer, head);
    const flip = button(off ? "Switch it on again" : "Switch this head off", () => {
      section.off = off ? section.off.filter(([l, each]) => l !== layer || each !== head) : [...section.off, [layer, head]];
      onswitch(section.off);
    }, { kind: off ? "primary" : "plain" });
    const canvas = h("canvas", { class: "map", role: "img", "aria-label": `Where head ${head + 1} of layer ${layer + 1} looks from each token (down) at each (across).` });
    fill(
      detail, h("h3", {}, `Layer ${layer + 1}, head ${head + 1}`),
      h("p", {}, sentence(looks, layer, head)),
      h("ol", { class: "plain-list" }, best.map((at) =>
        h("li", { class: "row between" }, h("span", {}, h("span", { class: "quiet" }, before(at)), h("b", {}, visible(shown.pieces[at])), h("span", { class: "quiet" }, ` ${shown.pieces.length - at} back`)),
          h("span", { class: "number" }, percent(weights[at]))))),
      h("div", { class: "row" }, flip), canvas, h("p", { class: "small quiet" }, "Rows: the token that looks. Columns: the tokens before it."),
    );
    onmap(layer, head).then((map) => map && paintMap(canvas, map.size, unpack(map.weights))).catch(() => canvas.remove());
  }

  const before = (at) => visible(shown.pieces.slice(Math.max(0, at - 8), at).join(""));

  /** Show the attention of the server for the tokens before the chosen one. */
  section.show = (attention, pieces) => {
    const [L, H, T] = attention.shape;
    const weights = unpack(attention.weights);
    shown = { pieces, looks: attention.looks, of: (layer, head) => weights.subarray((layer * H + head) * T, (layer * H + head + 1) * T) };
    if (cells.length !== L || cells[0].length !== H) build(L, H), (chosen = [0, 0]);
    cells.forEach((row, layer) => row.forEach((cell, head) => cell.draw(shown.of(layer, head), takes(attention.looks, layer, head), isOff(layer, head))));
    choose(...chosen);
  };
  section.forget = () => cells.flat().forEach((cell) => cell.tell(null));
  return section;
}

/** Return a picture of one head that can be pressed: { node, draw(weights, word, isOff), tell(change) }. */
function headCell(layer, head, onclick) {
  const path = h("path", {});
  const picture = h("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": true }, path);
  const word = h("span", { class: "word" });
  const change = h("span", { class: "change number" });
  const node = h("button", { type: "button", class: "head-cell", "aria-pressed": "false", onclick }, picture, h("span", { class: "row between" }, word, change));
  return {
    node,
    draw(weights, took, isOff) {
      const step = 1 / weights.length;
      path.setAttribute("d", `M0 1${[...weights].map((weight, at) => `V${(1 - Math.sqrt(weight)).toFixed(3)}H${((at + 1) * step).toFixed(4)}`).join("")}V1Z`);
      word.textContent = isOff ? "off" : took;
      node.classList.toggle("off", isOff);
      node.setAttribute("aria-label", `Layer ${layer + 1}, head ${head + 1}: ${isOff ? "switched off" : took || "looks at many"}`);
    },
    tell(nats) {
      change.textContent = nats == null ? "" : `${nats < 0 ? "−" : "+"}${Math.abs(nats).toFixed(3)}`;
      node.classList.toggle("matters", nats > 0.02);
      if (nats != null) change.title = "change of the loss without it, in nats a token";
    },
  };
}

/** Return the name of what a head takes most of its attention from, or "". */
function takes(looks, layer, head) {
  const short = { previous: "before", first: "first", itself: "itself", same: "repeats", after: "induction" };
  const best = Object.keys(short).reduce((a, b) => ((looks[b][layer][head] ?? 0) > (looks[a][layer][head] ?? 0) ? b : a));
  return (looks[best][layer][head] ?? 0) >= TAKES ? short[best] : "";
}

function sentence(looks, layer, head) {
  const parts = Object.keys(WORDS)
    .filter((each) => (looks[each][layer][head] ?? 0) >= 0.1)
    .sort((a, b) => looks[b][layer][head] - looks[a][layer][head])
    .map((each) => `${percent(looks[each][layer][head])} at ${WORDS[each]}`);
  const wide = Math.exp(looks.entropy[layer][head] ?? 0).toFixed(1);
  return `Over this text it looks at ${wide} tokens at a time${parts.length ? `; ${parts.join(", ")}` : ", near and far"}.`;
}
