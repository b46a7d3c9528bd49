// The logit lens: what the model would have said if it had stopped after each layer.

import { fill, h } from "./dom.js";
import { nameOf, spoken, visible } from "./tokens.js";
import { percent } from "./ui.js";

/** Return a section: { node, show(lens, written) }. */
export function lensSection() {
  const body = h("tbody");
  const told = h("p", { class: "quiet" });
  const node = h(
    "section", { class: "stack", "aria-labelledby": "lens-title" },
    h("h2", { id: "lens-title" }, "What each layer would have said"), told,
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "What each layer would have said" },
      h("table", { class: "lens" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "After"), h("th", { scope: "col", colspan: 5 }, "Its top five"), h("th", { scope: "col" }, "Actual token"), h("th", { scope: "col" }, "Loss"))),
        body)),
  );
  return {
    node,
    show({ rows }, written) {
      const agreed = rows.findIndex((_, at) => rows.slice(at).every((row) => row.ids[0] === rows.at(-1).ids[0]));
      told.textContent = `The model's first choice, ${spoken(rows.at(-1).pieces[0])}, leads from ${layerName(agreed)} on. Loss: the mean over the text so far, in nats, if that layer were the last.`;
      fill(body, rows.map((row, at) => h("tr", {},
        h("th", { scope: "row" }, layerName(at)),
        row.pieces.map((piece, each) => h("td", { class: row.ids[each] === written ? "hit" : "" }, cell(piece, row, each))),
        Array.from({ length: 5 - row.pieces.length }, () => h("td")),
        h("td", { class: "number" }, row.actual ? `${percent(Math.exp(row.actual.logprob))} · no. ${row.actual.rank}` : "–"),
        h("td", { class: "number" }, row.loss == null ? "–" : row.loss.toFixed(2)))));
    },
  };
}

const layerName = (at) => (at ? `layer ${at}` : "the embedding");

function cell(piece, row, each) {
  const probability = Math.exp(row.logprobs[each]);
  const node = h("span", { class: "lens-cell" }, h("span", { class: "piece" }, visible(nameOf(piece, row.special[each]))), h("span", { class: "small number" }, percent(probability)));
  node.style.setProperty("--weight", probability.toFixed(3));
  return node;
}
