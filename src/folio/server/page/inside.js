// Look inside: a text as the model read it, token by token, and what went on in the model at each of them.

import { announce, fill, h } from "./dom.js";
import { post } from "./api.js";
import { attentionSection } from "./attention.js";
import { compareSection, cost, readers } from "./compare.js";
import { write as generate } from "./generate.js";
import { recall, remember } from "./keep.js";
import { lensSection } from "./lens.js";
import { sidePanel } from "./panel.js";
import { recallSettings } from "./settings.js";
import { nameOf, surpriseLegend, tokenStrip, visible } from "./tokens.js";
import { button, choice, empty, field, problem } from "./ui.js";

export const title = "Look inside";
export const styles = ["look.css", "inside.css"];

const MOVED = 140;
const CHANGED = 6;
const EXAMPLE = "What light through yonder window breaks?";

/** Fill the root. */
export async function mount(root, context) {
  const models = await context.models(true);
  if (!readers(models).length) return void root.append(empty("No model yet", h("p", {}, "Train one on a text file of yours, under ", h("a", { href: "#/runs" }, "Runs"), ".")));
  new Inside(root, context, models);
}

class Inside {
  constructor(root, context, models) {
    Object.assign(this, { context, models, settings: recallSettings(), ids: [], position: 0, color: "surprise", earlier: [] });
    this.readers = readers(models);
    const named = context.params.get("model");
    const kept = context.handed() ?? (named ? { model: named, checkpoint: Number(context.params.get("checkpoint")) || null } : recall("inside", {}));
    this.reader = this.readers.find((each) => each.model === kept.model && each.checkpoint === (kept.checkpoint ?? null)) ?? this.readers[0];
    this.strip = tokenStrip({ label: "The text, token by token", look: true, onchoose: (at) => this.choose(at), onmove: (at) => this.later(at), onenter: () => this.panel.focus() });
    this.panel = sidePanel({
      settings: this.settings, several: null, hint: "Click a token of the text.",
      onclose: () => this.strip.focus(),
    });
    this.heads = attentionSection({
      onhead: (layer, head, weights) => this.shade(weights), onswitch: () => this.switched(),
      onmeasure: (report) => this.measure(report), onmap: (layer, head) => this.map(layer, head),
    });
    this.lens = lensSection();
    this.compare = compareSection({ models, signal: context.signal, onchoose: (at) => this.strip.choose(at) });
    this.build(root);
    if (kept.ids?.length) this.read(kept.ids, kept.position);
    else this.readText(EXAMPLE);
  }

  build(root) {
    const select = h("select", { "aria-label": "Model", onchange: () => this.change(this.readers[select.value]) },
      this.readers.map((each, at) => h("option", { value: at, selected: each === this.reader }, each.label)));
    this.text = h("textarea", { rows: 3, spellcheck: false });
    this.asQuestion = choice("Read it as", [["text", "as a text"], ["question", "as a question"]], "text", (value) => (this.kind = value));
    this.asQuestion.hidden = !this.isChat();
    this.kind = "text";
    this.typing = h("details", { class: "typing" }, h("summary", {}, "Read another text"),
      h("form", { class: "stack", onsubmit: (event) => (event.preventDefault(), this.readText(this.text.value)) },
        field("Text", this.text), h("div", { class: "row" }, h("button", { class: "primary" }, "Read it"), this.asQuestion)));
    this.summary = h("p", { class: "summary" });
    this.changes = h("div", {});
    this.status = h("div", { class: "status" });
    this.stop = button("Stop", () => this.running?.abort(), { hidden: true });
    this.back = button("Back to the text before", () => this.goBack(), { kind: "link", hidden: true });
    this.colors = choice("Color of the text", [["surprise", "surprise"], ["attention", "attention"]], "surprise", (value) => this.recolor(value));
    this.below = h("div", { class: "below" }, this.heads.node, this.lens.node, this.compare.node);
    root.append(
      h("div", { class: "row between head" }, h("h1", {}, title), h("div", { class: "row" }, h("div", { class: "picker" }, select),
        button("Distribution", () => this.panel.toggle(), { kind: "link", class: "link panel-opener" }))),
      h("div", { class: "with-panel" },
        h("div", { class: "stack main-column" },
          h("div", { class: "card reading" }, this.strip.node),
          h("div", { class: "row between" }, this.summary, this.colors),
          surpriseLegend(), h("div", { class: "row" }, this.stop, this.back), this.status, this.changes, this.typing, this.below),
        this.panel.node),
    );
    root.addEventListener("keydown", (event) => event.key === "Escape" && this.panel.dismiss());
  }

  isChat() {
    return this.models.find((model) => model.id === this.reader.model)?.kind === "chat";
  }

  get part() {
    return { model: this.reader.model, checkpoint: this.reader.checkpoint, ids: this.ids };
  }

  /** Read a text that was typed: as it stands, or as a question in the chat template. */
  async readText(text) {
    const { model, checkpoint } = this.reader;
    const body = this.kind === "question" && this.isChat() ? { messages: [{ role: "user", content: text }], answer: 1 } : { text };
    try {
      const read = await post("/page/api/prompt", { model, checkpoint, ...body }, { signal: this.context.signal });
      fill(this.status, read.unknown && h("p", { class: "notice" }, `The model has never seen ${[...read.unknown].join(" ")}: left out.`));
      this.typing.open = false;
      await this.read([...(read.opening?.ids ?? []), ...read.ids].slice(-read.block_size));
    } catch (error) {
      this.fail(error);
    }
  }

  /** Read ids, and look at one position: by default the most surprising token. */
  async read(ids, position = null) {
    this.ids = ids;
    this.heads.forget();
    try {
      const { surprise } = await this.inspect(["surprise"], { heads_off: [] });
      this.show(surprise);
      this.base = surprise.nats;
      this.keep();
      this.compareNow();
      const worst = surprise.nats.reduce((best, nats, at) => (nats > (surprise.nats[best] ?? -1) ? at : best), 0);
      this.choose(Math.min(position ?? worst, ids.length), false);
      if (this.heads.off.length) await this.switched();
    } catch (error) {
      this.fail(error);
    }
  }

  inspect(parts, more = {}) {
    return post("/page/api/inspect", { ...this.part, heads_off: this.heads.off, ...more, parts }, { signal: this.context.signal });
  }

  show({ ids, pieces, special, nats }) {
    this.strip.cut(0);
    ids.forEach((id, at) => this.strip.add({ id, piece: pieces[at], nats: nats[at], special: special[at] }));
    this.strip.look(true);
    this.tell();
  }

  tell(changed = null) {
    const { nats, bits } = cost(this.strip.tokens);
    const now = changed ? ` With ${this.heads.off.length === 1 ? "one head" : `${this.heads.off.length} heads`} off it is ${changed.toFixed(3)} (${changed < nats ? "−" : "+"}${Math.abs(changed - nats).toFixed(3)}).` : "";
    fill(this.summary, "Loss ", h("b", { class: "number" }, nats.toFixed(3)), ` nats per token, ${bits.toFixed(2)} bits per character.`, h("b", {}, now));
  }

  later(at) {
    clearTimeout(this.moving);
    this.moving = setTimeout(() => this.choose(at, false), MOVED);
  }

  /** Look at a token: what it might have been, where the heads looked, what the layers would have said. */
  async choose(at, speak = true) {
    clearTimeout(this.moving);
    this.position = at;
    this.strip.mark(at);
    const pieces = this.strip.tokens.map((token) => (token.special ? "" : token.piece));
    this.panel.look({ ...this.part, position: at, pieces, heads_off: this.heads.off, anchor: this.strip.node.children[at], oncontinue: (id) => this.instead(at, id) }, { speak });
    this.keep();
    this.below.hidden = at < 1;
    if (at < 1) return;
    const number = (this.looking = (this.looking ?? 0) + 1);
    try {
      const found = await this.inspect(["attention", "lens"], { position: at });
      if (number !== this.looking) return;
      this.heads.show(found.attention, this.strip.tokens.slice(0, at).map(({ piece, special }) => nameOf(piece, special)));
      this.lens.show(found.lens, this.ids[at]);
      this.compareNow();
    } catch (error) {
      this.fail(error);
    }
  }

  compareNow() {
    this.compare.show({ ...this.reader, ids: this.ids, tokens: this.strip.tokens, position: this.position });
  }

  shade(weights) {
    this.weights = weights;
    this.strip.weigh(this.color === "attention" ? weights : null);
  }

  recolor(value) {
    this.color = value;
    this.shade(this.weights);
  }

  map(layer, head) {
    return this.inspect(["map"], { head: [layer, head] }).then((found) => found.map);
  }

  /** Heads were switched off or on: read again, and tell what that does to the loss. */
  async switched() {
    this.choose(this.position, false);
    if (!this.heads.off.length) return fill(this.changes), this.tell();
    try {
      const { surprise } = await this.inspect(["surprise"]);
      const mean = surprise.nats.slice(1).reduce((sum, nats) => sum + nats, 0) / Math.max(1, surprise.nats.length - 1);
      this.tell(mean);
      fill(this.changes, this.changeTable(surprise.nats));
      announce(this.summary.textContent);
    } catch (error) {
      this.fail(error);
    }
  }

  changeTable(nats) {
    const change = (at) => nats[at] - this.base[at];
    const most = [...nats.keys()].slice(1).sort((a, b) => Math.abs(change(b)) - Math.abs(change(a))).slice(0, CHANGED);
    const row = (at) => h("tr", {},
      h("td", {}, h("span", { class: "quiet" }, visible(this.strip.tokens.slice(Math.max(0, at - 10), at).map((token) => token.piece).join(""))),
        button(visible(this.strip.tokens[at].piece), () => this.strip.choose(at), { kind: "link", class: "link serif" })),
      [this.base[at], nats[at]].map((each) => h("td", { class: "number" }, each.toFixed(2))),
      h("td", { class: "number" }, `${change(at) < 0 ? "−" : "+"}${Math.abs(change(at)).toFixed(2)}`));
    return h("table", {}, h("caption", { class: "small quiet" }, "Where it matters most: the loss of each token, in nats"),
      h("thead", {}, h("tr", {}, ["token", "all heads", "switched off", "change"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, most.map(row)));
  }

  /** Read the text once without each head. */
  async measure(report) {
    const { n_layer, n_head } = await post("/page/api/about", { model: this.reader.model, checkpoint: this.reader.checkpoint });
    const sum = (nats) => nats.slice(1).reduce((total, each) => total + each, 0);
    for (let layer = 0; layer < n_layer; layer += 1) {
      for (let head = 0; head < n_head; head += 1) {
        const { surprise } = await this.inspect(["surprise"], { heads_off: [[layer, head]] });
        report(layer, head, (sum(surprise.nats) - sum(this.base)) / Math.max(1, this.base.length - 1));
      }
    }
    announce("Every head is measured.");
  }

  /** Continue from another token, by its id. */
  async instead(at, id) {
    this.running?.abort();
    this.earlier.push({ ids: this.ids, position: this.position });
    const start = [...this.ids.slice(0, at), id];
    const { block_size: room } = await post("/page/api/about", { model: this.reader.model });
    const running = (this.running = new AbortController());
    const ids = [...start];
    this.stop.hidden = false;
    this.strip.cut(at);
    this.strip.add({ id, piece: "…", nats: null });
    try {
      const settings = { ...this.settings, n: 1, maxTokens: Math.min(this.settings.maxTokens, room - start.length) };
      if (settings.maxTokens > 0) {
        for await (const piece of generate({ model: this.reader.model, start, settings, signal: running.signal })) {
          for (const token of piece.tokens) ids.push(token.id), this.strip.add(token);
        }
      }
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
    this.stop.hidden = true;
    this.back.hidden = false;
    announce("The model has stopped writing.");
    await this.read(ids, at);
    this.strip.focus();
  }

  goBack() {
    const { ids, position } = this.earlier.pop();
    this.back.hidden = !this.earlier.length;
    this.read(ids, position);
  }

  async change(reader) {
    const text = this.strip.tokens.filter((token) => !token.special).map((token) => token.piece).join("");
    this.reader = reader;
    this.heads.off = [];
    this.earlier = [];
    this.asQuestion.hidden = !this.isChat();
    fill(this.changes);
    await this.readText(text);
  }

  keep() {
    remember("inside", { ...this.reader, ids: this.ids, position: this.position });
  }

  fail(error) {
    if (error.name !== "AbortError") fill(this.status, problem(error));
  }
}
