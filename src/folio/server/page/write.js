// Write: a text that goes on. The model continues what stands on the sheet; the caret says which token the panel looks at.

import { announce, fill, h } from "./dom.js";
import { post } from "./api.js";
import { continuation } from "./continuation.js";
import { tokenEditor } from "./editor.js";
import { write as generate } from "./generate.js";
import { recall, remember } from "./keep.js";
import { sidePanel } from "./panel.js";
import { recallSettings } from "./settings.js";
import { surpriseLegend, tokenStrip } from "./tokens.js";
import { button, empty, modelPicker, problem } from "./ui.js";

export const title = "Write";
export const styles = ["look.css"];

const IDLE = 350;
const SMALLEST_MARK = 2;

/** Fill the root. */
export async function mount(root, context) {
  const models = await context.models(true);
  const writers = models.filter((model) => model.kind !== "reward");
  if (!writers.length) return void root.append(empty("No model yet", h("p", {}, "Train one on a text file of yours, under ", h("a", { href: "#/runs" }, "Runs"), ".")));
  new Sheet(root, context, writers);
}

/** Do something about an error, unless it only says that the reader stopped something. */
function unlessStopped(error, act = () => { throw error; }) {
  if (error.name !== "AbortError") act();
}

/** Return a token of the model as the sheet has it: a special one has no text, and is there all the same. */
const onSheet = (token) => ({ ...token, piece: token.special ? "" : token.piece, special: false, made: true });

class Sheet {
  constructor(root, context, models) {
    Object.assign(this, { context, models, settings: recallSettings(), head: [], blockSize: Infinity, running: null });
    const kept = recall("write", {});
    const wanted = context.params.get("model") ?? kept.model;
    this.model = models.find((model) => model.id === wanted) ?? models.find((model) => model.kind === "base") ?? models[0];
    this.editor = tokenEditor({
      label: "The text", placeholder: "Begin a text here, or let the model begin.",
      onedit: () => this.edited(), onplace: (at) => this.place(at),
    });
    this.panel = sidePanel({
      settings: this.settings, several: "Continuations side by side",
      hint: "Click a letter of the text, or move to it with the arrow keys, to see here what else might have come.",
      oninside: (place) => this.lookInside(place), onclose: () => this.editor.field.focus(),
    });
    this.history = continuation({ restore: (tokens, unread) => this.restore(tokens, unread) });
    this.build(root);
    this.restore(kept.tokens ?? [], kept.unread ?? "");
    this.read();
    context.signal.addEventListener("abort", () => (this.running?.abort(), this.keep()));
  }

  build(root) {
    this.status = h("div", { class: "status" });
    this.meter = h("p", { class: "small quiet meter" });
    this.seen = h("div", { class: "seen", hidden: true }, h("span", {}, "the model sees the text from here"));
    this.ways = h("div", { class: "ways", hidden: true });
    this.go = button("Continue", () => this.write(), { kind: "primary", title: "Ctrl+Enter", "aria-keyshortcuts": "Control+Enter" });
    this.stop = button("Stop", () => this.running?.abort(), { hidden: true, title: "Escape" });
    this.retry = button("Retry", () => this.again(), { kind: "link" });
    this.undo = button("Undo", () => this.step("undo"), { kind: "link" });
    this.redo = button("Redo", () => this.step("redo"), { kind: "link" });
    this.versions = h("span", { class: "versions" });
    this.sheet = h("div", { class: "sheet card" }, this.seen, this.editor.node);
    const picker = modelPicker({ models: this.models, value: this.model.id, onchange: (model) => this.change(model) });
    root.append(
      h("div", { class: "row between head" }, h("h1", {}, title), h("div", { class: "row" }, picker,
        button("Settings", () => this.panel.toggle(), { kind: "link", class: "link panel-opener" }))),
      h("div", { class: "with-panel" },
        h("div", { class: "stack" }, this.sheet, this.ways, this.status,
          h("div", { class: "tools", role: "toolbar", "aria-label": "Writing" },
            this.go, this.stop, this.retry, this.versions, this.undo, this.redo,
            button("Save as text", () => this.save(), { kind: "link" }), this.meter),
          surpriseLegend()),
        this.panel.node),
    );
    root.addEventListener("keydown", (event) => this.key(event), { signal: this.context.signal });
  }

  key(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "Enter") event.preventDefault(), this.write();
    else if (event.key === "Escape") this.running ? this.running.abort() : this.panel.dismiss();
    else if (control && event.key.toLowerCase() === "z" && event.target === this.editor.field) {
      event.preventDefault();
      this.step(event.shiftKey ? "redo" : "undo");
    }
  }

  /** Have the model go on. before: the tokens that it goes on from, where this is another version. */
  async write({ settings = this.settings, before = null } = {}) {
    if (this.running) return;
    this.hideWays();
    const running = (this.running = new AbortController());
    this.busy(true);
    try {
      await this.readNow(running.signal);
      const base = before ?? [...this.editor.tokens];
      if (!before) this.history.settle(base);
      await (settings.n > 1 ? this.writeWays(settings, running.signal) : this.writeOn(settings, running.signal)).catch(unlessStopped);
      if (settings.n === 1) this.history.wrote(base, [...this.editor.tokens]);
    } catch (error) {
      unlessStopped(error, () => fill(this.status, problem(error)));
    } finally {
      this.running = null;
      this.busy(false);
      announce("The model has stopped writing.");
    }
  }

  /** Append as many tokens as are asked for; where the context is full, the model goes on without the oldest ones. */
  async writeOn(settings, signal) {
    for (let left = settings.maxTokens, round = 0; left > 0; round += 1) {
      const start = this.visible(left);
      const some = { ...settings, n: 1, maxTokens: Math.min(left, this.blockSize - start.length), seed: settings.seed + round };
      let finish = null;
      for await (const piece of generate({ model: this.model.id, start, settings: some, signal })) {
        for (const token of piece.tokens) this.editor.add(onSheet(token));
        left -= piece.tokens.length;
        finish = piece.finish ?? finish;
        this.follow();
      }
      if (finish !== "length" || some.maxTokens < 1) return;
    }
  }

  /** Write several continuations side by side; the reader takes one. */
  async writeWays(settings, signal) {
    const start = this.visible(settings.maxTokens);
    const ways = Array.from({ length: settings.n }, (_, at) => {
      const strip = tokenStrip({ label: `Way ${at + 1}` });
      const take = button("Take this one", () => this.takeWay(strip.tokens), { class: "plain" });
      return { strip, node: h("div", { class: "way card stack" }, strip.node, take) };
    });
    fill(this.ways, ways.map((way) => way.node));
    this.ways.hidden = false;
    const some = { ...settings, maxTokens: Math.min(settings.maxTokens, this.blockSize - start.length) };
    for await (const piece of generate({ model: this.model.id, start, settings: some, signal })) {
      piece.tokens.forEach((token) => ways[piece.index].strip.add(onSheet(token)));
    }
  }

  takeWay(tokens) {
    this.hideWays();
    const base = [...this.editor.tokens];
    tokens.forEach((token) => this.editor.add(token));
    this.history.wrote(base, [...this.editor.tokens]);
    this.afterChange();
    this.editor.field.focus();
  }

  hideWays() {
    this.ways.hidden = true;
    fill(this.ways);
  }

  /** Return the ids that the model reads to go on, with room for as many more tokens, or for half the context. */
  visible(more) {
    const ids = [...this.head, ...this.editor.tokens.map((token) => token.id)];
    const room = Math.min(more, Math.floor(this.blockSize / 2));
    const first = Math.max(0, ids.length - (this.blockSize - room));
    this.showSeen(first - this.head.length);
    return ids.slice(first);
  }

  showSeen(first) {
    this.seen.hidden = first <= 0;
    this.seen.style.top = `${this.editor.node.offsetTop + this.editor.top(first) - SMALLEST_MARK}px`;
  }

  again() {
    const { before, versions } = this.history.last;
    this.restore(before);
    this.write({ settings: { ...this.settings, n: 1, seed: this.settings.seed + versions.length }, before });
  }

  /** Continue from another token at a place, by its id. */
  async instead(at, id, piece) {
    this.restore([...this.editor.tokens.slice(0, at), { id, piece, nats: null, made: true }]);
    await this.write({ settings: { ...this.settings, n: 1 } });
    this.read();
  }

  edited() {
    this.hideWays();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.read(), IDLE);
  }

  /** Read what was typed, and color it; a later call overtakes an earlier one. */
  async read() {
    this.reading?.abort();
    this.reading = new AbortController();
    try {
      await this.readNow(this.reading.signal);
      fill(this.status, this.told);
      this.history.settle([...this.editor.tokens]);
      await this.color(this.reading.signal);
    } catch (error) {
      unlessStopped(error, () => fill(this.status, problem(error)));
    }
  }

  /** Turn what was typed into tokens. */
  async readNow(signal) {
    clearTimeout(this.waiting);
    const { tokens, unread } = this.editor;
    if (tokens.length && !unread) return;
    const read = await post("/page/api/prompt", { model: this.model.id, text: unread }, { signal });
    this.blockSize = read.block_size;
    const all = read.ids.map((id, at) => ({ id, piece: read.pieces[at], nats: null, special: read.special[at] }));
    const first = all.findIndex((token) => !token.special);
    const opening = first < 0 ? all : all.slice(0, first);
    if (!tokens.length) this.head = opening.map((token) => token.id);
    this.told = read.unknown ? h("p", { class: "notice" }, `The model has never seen ${[...read.unknown].join(" ")}: left out.`) : null;
    const typed = first < 0 ? [] : all.slice(first);
    if (read.unknown || typed.map((token) => token.piece).join("") !== unread) this.editor.replace([...tokens, ...typed]);
    else this.editor.take(typed);
  }

  /** Ask how surprised the model is by each token that it sees. */
  async color(signal) {
    const ids = [...this.head, ...this.editor.tokens.map((token) => token.id)];
    const first = Math.max(0, ids.length - this.blockSize);
    if (ids.length < 2) return;
    const { surprise } = await post("/page/api/inspect", { model: this.model.id, ids: ids.slice(first), parts: ["surprise"] }, { signal });
    const skipped = first ? 0 : this.head.length;
    this.editor.recolor(first ? first - this.head.length : 0, surprise.nats.slice(skipped));
    this.afterChange();
  }

  place(at) {
    if (this.editor.unread || this.running) return;
    const { tokens } = this.editor;
    const ids = [...this.head, ...tokens.map((token) => token.id)];
    const place = at + this.head.length;
    const first = Math.max(0, Math.min(ids.length, place + 1) - this.blockSize);
    this.editor.mark(at);
    this.panel.toggle(true);
    this.panel.look({
      model: this.model.id, ids: ids.slice(first, place + 1), position: place - first, anchor: this.editor.span(at),
      pieces: [...this.head.map(() => ""), ...tokens.map((token) => token.piece)].slice(first, place + 1),
      oncontinue: (id, piece, special) => !special && this.instead(at, id, piece), // what no text can hold is not written
    });
  }

  lookInside({ model, ids, position }) {
    this.context.handOver({ model, ids, position, from: "write" });
    this.context.go("inside");
  }

  step(which) {
    if (this.running) return;
    this.hideWays();
    this.history[which]();
    this.editor.field.focus();
  }

  restore(tokens, unread = "") {
    this.editor.replace(tokens, unread);
    this.editor.mark(-1);
    this.panel.forget();
    this.afterChange();
  }

  change(model) {
    this.model = model;
    this.panel.forget();
    this.restore([], this.editor.text); // other tokens, other ids
    this.history.clear();
    this.head = [];
    this.read();
  }

  busy(on) {
    this.editor.field.readOnly = on;
    this.editor.node.setAttribute("aria-busy", String(on));
    this.go.hidden = on;
    this.stop.hidden = !on;
    if (on) this.stop.focus();
    else this.go.focus();
    this.afterChange();
  }

  afterChange() {
    const last = this.running ? null : this.history.last;
    this.retry.hidden = !last;
    this.undo.disabled = !this.history.canUndo;
    this.redo.disabled = !this.history.canRedo;
    fill(this.versions, last?.versions.length > 1 && [
      button("‹", () => this.history.turn(-1), { kind: "link", "aria-label": "Version before" }), `${last.version + 1}/${last.versions.length}`,
      button("›", () => this.history.turn(1), { kind: "link", "aria-label": "Next version" })]);
    const n = this.editor.tokens.length + this.head.length;
    this.meter.textContent = Number.isFinite(this.blockSize) ? n > this.blockSize ? `${n} tokens; the model sees the last ${this.blockSize}` : `${n} of ${this.blockSize} tokens of its context used` : "";
    this.keep();
  }

  follow() {
    const bottom = this.sheet.getBoundingClientRect().bottom;
    if (bottom > innerHeight - 90 && bottom < innerHeight + 90) scrollBy(0, bottom - innerHeight + 90);
  }

  keep() {
    remember("write", { model: this.model.id, tokens: this.editor.tokens, unread: this.editor.unread });
  }

  save() {
    const url = URL.createObjectURL(new Blob([this.editor.text], { type: "text/plain" }));
    h("a", { href: url, download: "folio.txt" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}
