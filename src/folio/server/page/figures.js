// Figures of the lecture that run on the reader's own models.

import { fill, h, newId } from "./dom.js";
import { post } from "./api.js";
import { unpack } from "./attention.js";
import { distributionPanel } from "./distribution.js";
import { lensSection } from "./lens.js";
import { nameOf, spoken, visible } from "./tokens.js";
import { field, modelPicker, percent, problem, slider } from "./ui.js";

const RESTS = 300;
const EXAMPLE = "First Citizen:\nBefore we proceed any further, hear m";
const QUESTIONS = ["Repeat: To be or not to be.", "Say in capital letters: good night"];

/** Return a figure. kind: of FIGURES. models: on offer. */
export function modelFigure(kind, models, signal) {
  const { title, needs, build } = FIGURES[kind];
  const fitting = models.filter((model) => needs.includes(model.kind));
  const id = newId("figure");
  const body = h("div", { class: "stack" });
  const node = h("figure", { class: "card own-figure stack", "aria-labelledby": id }, h("figcaption", { id }, title), body);
  if (!fitting.length) {
    fill(body, h("p", { class: "notice" }, "This runs on a model of your own, and there is none yet that fits. ", h("a", { href: "#/runs" }, "Train one.")));
    return node;
  }
  const chosen = { model: fitting.find((model) => model.kind === "base") ?? fitting[0] };
  const shown = build(signal);
  const picker = modelPicker({ models: fitting, value: chosen.model.id, onchange: (model) => ((chosen.model = model), shown.read(model)) });
  fill(body, picker, shown.node);
  shown.read(chosen.model);
  return node;
}

/** Return a figure that reads a text that one may change: { node, read(model) }. parts: of inspect. draw(told, read): show them. */
function reading({ label, text, parts, draw, signal, below }) {
  const input = h("textarea", { rows: 2, spellcheck: "false", oninput: () => later() }, text);
  const trouble = h("div", {});
  const shown = h("div", { class: "stack", hidden: true }, below);
  const node = h("div", { class: "stack" }, field(label, input), trouble, shown);
  let model = null;
  let timer = 0;
  let asking = new AbortController();
  signal.addEventListener("abort", () => (clearTimeout(timer), asking.abort()));

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => read(model), RESTS);
  }

  async function read(given) {
    model = given;
    asking.abort();
    asking = new AbortController();
    const options = { signal: asking.signal };
    if (shown.hidden) fill(trouble, h("p", { class: "quiet small", "aria-busy": "true" }, "The model is being loaded…"));
    try {
      const found = await post("/page/api/prompt", { model: model.id, text: input.value }, options);
      const ids = found.ids.slice(-found.block_size);
      const told = parts.length ? await post("/page/api/inspect", { model: model.id, ids, parts }, options) : {};
      fill(trouble, found.unknown && h("p", { class: "notice" }, `The model has never seen ${[...found.unknown].join(" ")}: left out.`));
      shown.hidden = false;
      draw(told, found);
    } catch (error) {
      if (error.name !== "AbortError") fill(trouble, problem(error));
    }
  }
  return { node, read };
}

function tokens(signal) {
  const list = h("ol", { class: "chips", role: "list" });
  const told = h("p", { class: "small quiet" });
  return reading({
    label: "Text", text: "First Citizen", parts: [], signal, below: [list, told],
    draw(_, { ids, pieces, special }) {
      fill(list, pieces.map((piece, at) => h("li", { class: "token-chip" }, h("b", {}, visible(nameOf(piece, special[at]))), h("span", { class: "small number quiet" }, ids[at]))));
      told.textContent = `${ids.length} tokens, each with its id.`;
    },
  });
}

function next(signal) {
  const panel = distributionPanel({ sampling: { temperature: 1, topK: 0, topP: 1 } });
  return reading({
    label: "Text so far", text: EXAMPLE, parts: ["distribution"], signal, below: panel.node,
    draw: ({ distribution }) => panel.show(distribution, "What may come next"),
  });
}

function attention(signal) {
  const text = h("p", { class: "tokens looked weighed weights" });
  const told = h("p", { class: "small", "aria-live": "polite" });
  const knobs = h("div", { class: "knobs-two" });
  let seen = null;
  let at = { layer: 0, head: 0 };

  function draw() {
    const [, H, T] = seen.shape;
    const weights = seen.weights.subarray((at.layer * H + at.head) * T, (at.layer * H + at.head + 1) * T);
    const best = weights.reduce((most, weight, each) => (weight > weights[most] ? each : most), 0);
    fill(text, seen.pieces.map((piece, each) => {
      const span = h("span", { class: `t${weights[each] > 0.2 ? " strong" : ""}` }, piece === "\n" ? "↵\n" : piece);
      span.style.setProperty("--weight", weights[each].toFixed(3));
      return span;
    }));
    told.textContent = `From the last token, this head looks most at ${spoken(seen.pieces[best])}, ${T - best} back: ${percent(weights[best])} of its weight.`;
  }

  return reading({
    label: "Text", text: EXAMPLE, parts: ["attention"], signal, below: [knobs, text, told],
    draw({ attention: found }, { pieces }) {
      const [L, H, T] = found.shape;
      seen = { shape: found.shape, weights: unpack(found.weights), pieces: pieces.slice(-T) };
      at = { layer: Math.min(at.layer, L - 1), head: Math.min(at.head, H - 1) };
      const knob = (name, key, n) => slider(name, { min: 1, max: n, step: 1, value: at[key] + 1, format: (value) => `${value} of ${n}`, oninput: (value) => ((at[key] = value - 1), draw()) });
      if (knobs.dataset.shape !== `${L} ${H}`) fill(knobs, knob("Layer", "layer", L), knob("Head", "head", H));
      knobs.dataset.shape = `${L} ${H}`;
      draw();
    },
  });
}

function lens(signal) {
  const section = lensSection();
  return reading({
    label: "Text so far", text: EXAMPLE, parts: ["lens"], signal, below: section.node, draw: ({ lens: found }) => section.show(found, null),
  });
}

function listen(signal) {
  const inputs = QUESTIONS.map((question) => h("input", { type: "text", value: question, maxlength: "200" }));
  const answers = inputs.map(() => h("p", { class: "serif answer-text" }));
  const told = h("p", { class: "small", "aria-live": "polite" });
  const trouble = h("div", {});
  let model = null;
  const form = h("form", { class: "stack", onsubmit: (event) => (event.preventDefault(), ask()) },
    h("div", { class: "two" }, inputs.map((input, at) => h("div", { class: "stack tight" }, field(`Question ${at + 1}`, input), answers[at]))),
    h("div", { class: "row" }, h("button", { class: "primary" }, "Ask both with the same seed")), told, trouble);

  async function ask() {
    fill(trouble);
    told.textContent = "Writing…";
    try {
      const found = await Promise.all(inputs.map((input) => post("/v1/chat/completions",
        { model: model.id, messages: [{ role: "user", content: input.value }], seed: 1, max_tokens: 80, temperature: 0.8 }, { signal })));
      const texts = found.map(({ choices }) => choices[0].message.content);
      texts.forEach((text, at) => (answers[at].textContent = text || "(nothing)"));
      told.textContent = texts[0] === texts[1] ? "The same answer to both: it did not use the question." : "Two answers: the question made a difference.";
    } catch (error) {
      told.textContent = "";
      if (error.name !== "AbortError") fill(trouble, problem(error));
    }
  }
  return { node: form, read: (given) => ((model = given), answers.forEach((answer) => fill(answer)), (told.textContent = "")) };
}

const FIGURES = {
  tokens: { title: "Your model's tokens", needs: ["base", "chat"], build: tokens },
  next: { title: "What your model expects next", needs: ["base", "chat"], build: next },
  attention: { title: "Where the heads of your model look", needs: ["base", "chat"], build: attention },
  lens: { title: "What your model would say after each layer", needs: ["base", "chat"], build: lens },
  listen: { title: "Does your assistant listen?", needs: ["chat"], build: listen },
};
