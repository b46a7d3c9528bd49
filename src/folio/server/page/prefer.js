// Prefer: two answers, blind, and which is better. What is judged becomes the file that `folio reward` reads.

import { announce, fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { answerPair, isTaught } from "./pairs.js";
import { recall, remember } from "./keep.js";
import { statistics } from "./preferstats.js";
import { button, choice, empty, field, modelPicker, problem } from "./ui.js";

export const title = "Prefer";
export const styles = ["prefer.css"];

/** What may be judged: the key, and what it is called. The arrows do the same. */
const KEYS = { 1: "left", 2: "right", 0: "tie", 9: "bad", ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", ArrowUp: "bad", s: "skip", u: "undo" };
const WORDS = { left: "Left is better", right: "Right is better", tie: "A tie", bad: "Both are bad", skip: "Skipped" };

/** Prompts to try until answers differ. */
const PROMPTS = 4;

/** Fill the root. */
export async function mount(root, context) {
  const models = (await context.models()).filter((model) => model.kind === "chat");
  if (!models.length) {
    return void root.append(empty("No assistant yet", h("p", {}, "You compare answers of a model that was taught to answer. Train one under ", h("a", { href: "#/runs" }, "Runs"), ".")));
  }
  const judge = new Judge(root, context, models);
  judge.choose(models.find((model) => model.id === (context.params.get("model") ?? recall("prefer"))) ?? models[0]);
  return () => judge.leave();
}

class Judge {
  constructor(root, context, models) {
    Object.assign(this, { context, models, pair: null, told: null, prompts: [], after: null, asking: new AbortController(), isBusy: false });
    this.prompt = h("p", { class: "asked", id: "asked" });
    this.cards = ["left", "right"].map((side) => card(side, () => this.judge(side)));
    this.trouble = h("div", {});
    this.last = h("p", { class: "small quiet", "aria-live": "polite" });
    this.numbers = statistics();
    this.modes = h("div", {});
    this.buttons = h("div", { class: "row verdicts" },
      this.button("tie", "Tie", "0"), this.button("bad", "Both bad", "9"), this.button("skip", "Skip", "S"), this.button("undo", "Undo", "U"));
    const own = h("input", { type: "text", maxlength: "240", autocomplete: "off" });
    const ask = h("form", { class: "own", onsubmit: (event) => (event.preventDefault(), own.value.trim() && this.askOwn(own)) },
      field("Or ask something of your own", own), h("button", {}, "Ask it"));
    fill(root,
      h("div", { class: "row between" }, h("h1", {}, "Which answer is better?"), h("div", { class: "row" }, (this.picker = h("div", {})), this.modes)),
      (this.place = h("section", { class: "pair", tabindex: "-1", "aria-label": "Two answers" }, this.prompt, h("div", { class: "answers" }, this.cards.map((each) => each.node)), this.buttons, this.last, this.trouble)),
      ask, this.numbers.node);
    addEventListener("keydown", (event) => this.key(event), { signal: context.signal });
  }

  button(act, label, key) {
    const does = act === "undo" ? () => this.undo() : () => this.judge(act);
    return button([label, h("kbd", { "aria-hidden": "true" }, key)], does, { "aria-keyshortcuts": key, dataset: { act } });
  }

  /** Ask a question of the reader's; the keys are for judging again. */
  askOwn(input) {
    this.next(input.value.trim());
    input.value = "";
    this.place.focus({ preventScroll: true });
  }

  leave() {
    this.asking.abort();
  }

  /** Judge the answers of a model. after: the id of one that reinforcement learning made of it, to compare with. */
  async choose(model, after = null) {
    this.model = model;
    remember("prefer", model.id);
    fill(this.picker, modelPicker({ models: this.models, value: model.id, label: "Model whose answers are judged", onchange: (chosen) => this.choose(chosen) }));
    this.after = after;
    this.prompts = [];
    this.asking.abort();
    this.setBusy(true);
    this.cards.forEach((each) => each.wait("Looking for something to ask…"));
    try {
      const [told, { prompts, origin }] = await Promise.all([
        get(`/page/api/preferences?${new URLSearchParams({ model: model.id })}`, { signal: this.context.signal }),
        get(`/page/api/preferences/prompts?${new URLSearchParams({ model: model.id })}`, { signal: this.context.signal }),
      ]);
      Object.assign(this, { prompts, origin });
      this.take(told);
      this.offerModes();
      await this.next();
    } catch (error) {
      this.fail(error, () => this.choose(model, after));
    }
  }

  /** Offer to compare with what reinforcement learning made of the model, or with the model that it made this one of. */
  offerModes() {
    const options = [["", "Two answers of one model"], ...this.told.compared.map(({ after }) => [after, `Before and after ${after}`])];
    const begin = this.models.find((model) => model.id === this.told.began_with);
    fill(this.modes,
      options.length > 1 && choice("What is compared", options, this.after ?? "", (id) => ((this.after = id || null), this.next())),
      begin && button(`Compare with ${begin.id}, which it began with`, () => this.choose(begin, this.model.id), { kind: "link" }));
  }

  take(told) {
    this.told = told;
    this.numbers.show(told, this.model);
    this.buttons.querySelector("[data-act=undo]").disabled = !Object.values(told.counts).some(Boolean) && !told.repeated;
  }

  /** Show the next pair: one that comes again, or a new one for a prompt. given: a prompt of the reader's. */
  async next(given = null) {
    this.asking.abort();
    const { signal } = (this.asking = new AbortController());
    fill(this.trouble);
    this.setBusy(true);
    const repeat = given ? null : this.told.repeat;
    this.pair = null;
    if (!given && !repeat && !this.prompts.length) {
      this.prompt.textContent = "";
      this.cards.forEach((each) => each.wait("Ask something below."));
      return;
    }
    try {
      if (repeat) this.show({ ...repeat, repeats: repeat.number });
      else await this.write(given, signal);
    } catch (error) {
      this.fail(error, () => this.next(given));
    }
  }

  /** Have a pair written, of another prompt where the answers to one leave nothing to choose. */
  async write(given, signal) {
    const own = given && (await this.known(given, signal));
    for (let tried = 1; ; tried += 1) {
      const prompt = own ?? this.someone();
      this.prompt.textContent = prompt;
      this.cards.forEach((each) => each.wait("Writing…"));
      const pair = await answerPair({ model: this.model.id, other: this.after ?? this.model.id, prompt, signal });
      if (signal.aborted) return;
      if (own || isTaught(pair) || tried === PROMPTS) return void this.show({ ...pair, prompt, repeats: null });
    }
  }

  /** Return a prompt without the characters that the model has never seen, and say which these are. */
  async known(text, signal) {
    const { messages, unknown } = await post("/page/api/prompt", { model: this.model.id, messages: [{ role: "user", content: text }] }, { signal });
    fill(this.trouble, unknown && h("p", { class: "notice" }, `The model has never seen ${[...unknown].join(" ")}: left out.`));
    return messages.at(-1).content;
  }

  /** Return the next prompt; they come in an order of chance, and anew after the last. */
  someone() {
    this.prompts.push(this.prompts.shift());
    return this.prompts.at(-1);
  }

  show(pair) {
    this.pair = pair;
    this.prompt.textContent = pair.prompt;
    ["left", "right"].forEach((side, at) => this.cards[at].show(pair[side]));
    this.setBusy(false);
    const cut = !isTaught(pair) && " A reward model cannot learn from this pair: it needs two whole, different answers.";
    announce(`Both answers are there.${cut || ""}`);
    fill(this.last, this.last.firstChild?.textContent ?? "", cut);
  }

  async judge(judgement) {
    if (!this.pair || this.isBusy) return;
    const { prompt, left, right, repeats } = this.pair;
    this.setBusy(true);
    try {
      this.take(await post("/page/api/preferences/add", { model: this.model.id, prompt, left, right, judgement, ...(repeats == null ? {} : { repeats }) }));
      const names = left.model === right.model ? "" : ` Left was ${left.model}, right ${right.model}.`;
      this.last.textContent = `${WORDS[judgement]}.${names}`;
      announce(this.last.textContent);
      await this.next();
    } catch (error) {
      this.setBusy(false);
      this.fail(error);
    }
  }

  async undo() {
    this.asking.abort();
    try {
      const { undone, ...told } = await post("/page/api/preferences/undo", { model: this.model.id });
      this.take(told);
      fill(this.trouble);
      this.last.textContent = "Taken back: judge it again.";
      this.show({ ...undone });
    } catch (error) {
      this.fail(error);
    }
  }

  key(event) {
    const isTyping = event.target.closest?.("input:not([type=radio]), textarea, select, dialog");
    const moves = event.key.startsWith("Arrow") && event.target.closest?.("input"); // from one choice to the next
    if (isTyping || moves || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    if (act === "undo") this.undo();
    else this.judge(act);
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    for (const each of [...this.cards.map((one) => one.take), ...this.buttons.querySelectorAll("[data-act=tie], [data-act=bad], [data-act=skip]")]) {
      if (isBusy) each.setAttribute("aria-disabled", "true"); // it keeps the focus, which a disabled one would lose
      else each.removeAttribute("aria-disabled");
    }
  }

  fail(error, again = null) {
    if (error.name !== "AbortError") fill(this.trouble, problem(error, again));
  }
}

function card(side, onchoose) {
  const key = side === "left" ? "1" : "2";
  const text = h("p", { class: "text" });
  const take = button([WORDS[side], h("kbd", { "aria-hidden": "true" }, key)], onchoose, { kind: "primary", "aria-keyshortcuts": key });
  const node = h("article", { class: "answer", "aria-label": `${side === "left" ? "Left" : "Right"} answer` }, text, take);
  return {
    node, take,
    wait(words) {
      node.classList.add("waiting");
      node.setAttribute("aria-busy", "true");
      text.textContent = words;
    },
    show(answer) {
      node.classList.remove("waiting");
      node.removeAttribute("aria-busy");
      fill(text, answer.text || h("span", { class: "quiet" }, "(nothing)"), !answer.is_complete && h("span", { class: "quiet" }, " …cut off"));
    },
  };
}
