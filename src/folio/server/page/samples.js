// What the model wrote at each step of its training, and what it makes of a prompt of the reader's at every checkpoint.

import { announce, fill, h } from "./dom.js";
import { post } from "./api.js";
import { figure } from "./chart.js";
import { button, field, problem, slider } from "./ui.js";

const TOKENS = 160;
const SEED = 1;
const TEMPERATURE = 0.8;
const CHAT = ["sft", "dpo", "ppo", "grpo"];
const TEMPLATE = /<\|(\w+)\|>/;

/** Return a section: { node, show() }. state: of the run, with its samples, columns and checkpoints. */
export function samplesSection(context, state) {
  const cards = h("div", { class: "samples" });
  const own = h("div", { class: "sample", hidden: true });
  const note = h("p", { class: "small quiet" });
  const trouble = h("div", {});
  const input = h("input", { type: "text", maxlength: "400", autocomplete: "off" });
  const all = button("At every checkpoint", everywhere);
  const form = h("form", { class: "own", onsubmit: (event) => (event.preventDefault(), ask()) },
    field("Your own prompt", input),
    h("div", { class: "row" }, h("button", { class: "primary" }, "Write"), all));
  const place = h("div", {});
  const heading = h("h2", {});
  const node = h("section", { class: "stack", hidden: true }, heading, place, cards, own, trouble, form, note);
  const answers = new Map(); // by prompt and step
  let steps = [];
  let at = 0;
  let isAtLast = true;
  let prompt = null;
  let knob = null;
  let asking = new AbortController();
  let timer = 0;
  context.signal.addEventListener("abort", () => (asking.abort(), clearTimeout(timer)));

  function show() {
    const found = [...new Set([...state.samples.map((sample) => sample.step), ...state.run.checkpoints])].sort((one, other) => one - other);
    node.hidden = !found.length;
    if (!found.length) return;
    const isScorer = state.run.stage === "reward"; // it writes nothing
    heading.textContent = isScorer ? "How it scored" : "What it wrote";
    form.hidden = note.hidden = isScorer;
    const step = isAtLast ? state.samples.at(-1)?.step ?? found.at(-1) : steps[at];
    const isSame = found.join() === steps.join();
    steps = found;
    at = Math.max(0, steps.indexOf(step));
    if (isSame) return void (knob.set(at), draw());
    knob = slider("Step", { min: 0, max: steps.length - 1, step: 1, value: at, format: named, oninput: (value) => ((at = value), (isAtLast = steps[at] === state.samples.at(-1)?.step), draw(), later()) });
    const hadFocus = place.contains(document.activeElement);
    fill(place, knob);
    if (hadFocus) knob.querySelector("input").focus();
    draw();
  }

  function named(value) {
    const step = steps[value];
    const loss = state.columns.val_loss?.[state.columns.step?.indexOf(step)];
    return `${step.toLocaleString("en")}${loss == null ? "" : `, validation loss ${figure(loss)}`}`;
  }

  function draw() {
    const shown = state.samples.filter((sample) => sample.step === steps[at]);
    fill(cards, shown.map((sample) => card(asTurns(sample.prompt), sample.text)),
      !shown.length && h("p", { class: "quiet" }, "No sample was written at this step."));
    const hasModel = state.run.checkpoints.includes(steps[at]);
    const n = state.run.checkpoints.length;
    note.textContent = `${n} ${n === 1 ? "checkpoint is" : "checkpoints are"} kept${hasModel ? "" : ", none of this step"}. Each writes with the same seed, so only the model differs.`;
    all.disabled = n < 2;
    drawOwn();
  }

  function drawOwn() {
    own.hidden = prompt == null;
    if (prompt == null) return;
    const step = steps[at];
    const answer = answers.get(`${step} ${prompt}`);
    const missing = state.run.checkpoints.includes(step) ? "…" : "There is no model of this step: choose another one.";
    fill(own, h("p", { class: "prompt" }, prompt || "(no prompt)"), h("p", { class: "text" }, answer ?? missing));
  }

  /** Ask the model of the chosen step, when the slider rests. */
  function later() {
    clearTimeout(timer);
    if (prompt != null) timer = setTimeout(() => fetchAt(steps[at]).catch(told), 250);
  }

  function told(error) {
    if (error.name !== "AbortError") fill(trouble, problem(error));
  }

  function begin() {
    asking.abort();
    asking = new AbortController();
    fill(trouble);
    prompt = input.value;
    if (!state.run.checkpoints.includes(steps[at])) {
      const nearest = [...state.run.checkpoints].sort((one, other) => Math.abs(one - steps[at]) - Math.abs(other - steps[at]))[0];
      if (nearest == null) throw new Error("This run has kept no model yet: wait for its first checkpoint.");
      at = steps.indexOf(nearest);
      knob.set(at);
    }
    draw();
  }

  async function ask() {
    try {
      begin();
      await fetchAt(steps[at]);
      announce("Written.");
    } catch (error) {
      told(error);
    }
  }

  async function everywhere() {
    try {
      begin();
      for (const step of [...state.run.checkpoints].reverse()) {
        await fetchAt(step);
        all.textContent = `At every checkpoint: ${state.run.checkpoints.filter((each) => answers.has(`${each} ${prompt}`)).length} of ${state.run.checkpoints.length}`;
      }
      announce("All checkpoints have written: move the slider.");
    } catch (error) {
      told(error);
    }
  }

  async function fetchAt(step) {
    const key = `${step} ${prompt}`;
    if (!answers.has(key) && state.run.checkpoints.includes(step)) {
      const text = prompt;
      const model = `${state.run.model_id}@${step}`;
      const settings = { model, max_tokens: TOKENS, seed: SEED, temperature: TEMPERATURE };
      const { signal } = asking;
      const given = CHAT.includes(state.run.stage)
        ? await post("/v1/chat/completions", { ...settings, messages: [{ role: "user", content: text }] }, { signal })
        : await post("/v1/completions", { ...settings, prompt: text }, { signal });
      const [choice] = given.choices;
      answers.set(key, choice.message?.content ?? choice.text);
    }
    drawOwn();
  }

  return { node, show };
}

/** Return a prompt in the chat template as its turns, a line each; any other as it is. */
function asTurns(prompt) {
  const [before, ...parts] = prompt.split(TEMPLATE);
  if (before || !parts.length) return prompt;
  const turns = parts.map((name, at) => [name, parts[at + 1]]).filter(([, text], at) => at % 2 === 0 && text);
  return turns.length === 1 ? turns[0][1] : turns.map(([role, text]) => `${role}: ${text}`).join("\n");
}

/** Return a sample; a text that goes on from its prompt has the prompt in it. */
function card(prompt, text) {
  const goesOn = prompt.trim() && text.startsWith(prompt);
  const written = goesOn ? [h("span", { class: "quiet" }, prompt), text.slice(prompt.length)] : text;
  return h("div", { class: "sample" }, !goesOn && prompt.trim() && h("p", { class: "prompt" }, prompt), h("p", { class: "text" }, written));
}
