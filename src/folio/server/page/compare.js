// The same text through another model, or an earlier checkpoint of this one.

import { fill, h } from "./dom.js";
import { post } from "./api.js";
import { tokenStrip, visible } from "./tokens.js";
import { percent, problem } from "./ui.js";

const TOP = 5;

/** Return the choices of models and their checkpoints: [{ label, model, checkpoint }]. */
export function readers(models) {
  return models.filter((model) => model.kind !== "reward").flatMap((model) => [
    { label: model.id, model: model.id, checkpoint: null },
    ...(model.checkpoints ?? []).map((step) => ({ label: `${model.id}, step ${step}`, model: model.id, checkpoint: step })),
  ]);
}

/** Return what a text costs: mean nats a token, and bits a character. */
export function cost(tokens) {
  const counted = tokens.filter((token) => token.nats != null);
  const nats = counted.reduce((sum, token) => sum + token.nats, 0);
  const characters = counted.filter((token) => !token.special).reduce((sum, token) => sum + token.piece.length, 0);
  return { nats: nats / Math.max(1, counted.length), bits: nats / Math.LN2 / Math.max(1, characters) };
}

/** Return a section: { node, show(reading) }, where reading is { model, checkpoint, ids, tokens, position }. */
export function compareSection({ models, signal, onchoose }) {
  const choices = readers(models);
  let reading = null;
  let asked = 0;
  const out = h("div", { class: "stack" });
  const select = h("select", { "aria-label": "Read it with", onchange: () => compare() },
    h("option", { value: "" }, "Choose a model or a checkpoint"), choices.map((each, at) => h("option", { value: at }, each.label)));
  const node = h(
    "section", { class: "stack", "aria-labelledby": "compare-title" },
    h("h2", { id: "compare-title" }, "The same text in another model"),
    h("div", { class: "picker" }, select), out,
  );

  async function compare() {
    const other = choices[select.value];
    const number = ++asked;
    if (!other || !reading) return void fill(out);
    try {
      const { ids, same } = await idsFor(other, reading, signal);
      const position = same ? reading.position : ids.length;
      const part = { model: other.model, checkpoint: other.checkpoint, ids };
      const found = await post("/page/api/inspect", { ...part, position, parts: ["surprise", "distribution"] }, { signal });
      if (number === asked) draw(other, found, same);
    } catch (error) {
      if (error.name !== "AbortError") fill(out, problem(error));
    }
  }

  function draw(other, { surprise, distribution }, same) {
    const strip = tokenStrip({ label: `The text as ${other.label} reads it`, look: true, onchoose: (at) => same && onchoose(at), onmove: () => {} });
    surprise.ids.forEach((id, at) => strip.add({ id, piece: surprise.pieces[at], nats: surprise.nats[at], special: surprise.special[at] }));
    if (same) strip.mark(reading.position);
    const [here, there] = [cost(reading.tokens), cost(strip.tokens)];
    const difference = there.bits - here.bits;
    fill(
      out,
      h("p", {}, `${other.label} needs ${there.bits.toFixed(2)} bits per character, `,
        h("b", {}, `${Math.abs(difference).toFixed(2)} ${difference < 0 ? "fewer" : "more"}`), ` than ${reading.label} (${here.bits.toFixed(2)}).`,
        same ? "" : " It has other tokens, so only the text is the same."),
      h("div", { class: "card" }, strip.node),
      same && h("p", {}, h("span", { class: "quiet" }, "Its next token: "), distribution.pieces.slice(0, TOP).map((piece, at) =>
        h("span", { class: "chip" }, h("b", {}, visible(piece)), ` ${percent(Math.exp(distribution.logprobs[at]))}`))),
    );
  }

  return {
    node,
    /** Compare what is read now. */
    show(given) {
      reading = given;
      if (select.value) compare();
    },
  };
}

/** Return the ids of a text for another model, and whether they are the same ones. */
async function idsFor(other, reading, signal) {
  const [theirs, ours] = await Promise.all([other, reading].map(({ model, checkpoint }) => post("/page/api/about", { model, checkpoint }, { signal })));
  if (theirs.tokenizer === ours.tokenizer) return { ids: reading.ids.slice(-theirs.block_size), same: reading.ids.length <= theirs.block_size };
  const text = reading.tokens.filter((token) => !token.special).map((token) => token.piece).join("");
  const read = await post("/page/api/prompt", { model: other.model, checkpoint: other.checkpoint, text }, { signal });
  return { ids: [...read.opening.ids, ...read.ids].slice(-read.block_size), same: false };
}
