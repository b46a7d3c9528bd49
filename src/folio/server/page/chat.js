// Chat: a conversation with a model, whose every word can be opened.

import { announce, fill, h } from "./dom.js";
import { post } from "./api.js";
import { write as generate } from "./generate.js";
import { recall, remember } from "./keep.js";
import { sidePanel } from "./panel.js";
import { showSeen } from "./saw.js";
import { recallSettings } from "./settings.js";
import { allConversations, download, keepConversation } from "./store.js";
import { talkList } from "./talks.js";
import { surpriseLegend } from "./tokens.js";
import { addTurn, asLine, chooseTurn, messagesTo, newConversation, removeTurn, shownTurns, turnBefore, versionsOf } from "./tree.js";
import { answerTurn, userTurn } from "./turn.js";
import { button, empty, field, modelPicker, problem } from "./ui.js";

export const title = "Chat";
export const styles = ["look.css", "chat.css"];

/** Fill the root. */
export async function mount(root, context) {
  const models = (await context.models(true)).filter((model) => model.kind === "chat");
  if (!models.length) {
    return void root.append(empty("No assistant yet",
      h("p", {}, "A model first learns to continue a text, then to answer. ", h("a", { href: "#/write" }, "Write"), " with one that continues, or train one that answers under ", h("a", { href: "#/runs" }, "Runs"), ".")));
  }
  const chat = new Chat(root, context, models);
  await chat.open((await allConversations()).find((each) => each.id === recall("talk")) ?? null);
}

class Chat {
  constructor(root, context, models) {
    Object.assign(this, { context, models, settings: recallSettings(), running: null, colored: recall("colored", true) });
    Object.assign(this, { writing: new Set(), shown: new Map(), built: new Map() }); // answers that grow; turns, and their elements
    const wanted = context.params.get("model") ?? recall("chat-model");
    this.model = models.find((model) => model.id === wanted) ?? models[0];
    this.talks = talkList({ onopen: (conversation) => this.open(conversation) });
    this.system = h("textarea", { rows: 2, onchange: () => this.setSystem(this.system.value) });
    this.panel = sidePanel({
      settings: this.settings, hint: "Click any letter of an answer to see here what else the model might have said.",
      legend: surpriseLegend(),
      extra: [h("div", { class: "settings" }, h("div", { class: "wide" }, field("System message", this.system)))],
      oninside: (place) => this.lookInside(place.ids, place.position), onclose: () => this.strip?.focus(),
    });
    this.build(root);
    context.signal.addEventListener("abort", () => this.running?.abort());
  }

  build(root) {
    this.log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-busy": "false" });
    this.windowEnd = h("div", { class: "window-end small quiet" }, "The model no longer sees the messages above.");
    this.start = h("div", { class: "start" });
    this.box = h("textarea", { rows: 1, placeholder: "Say something", "aria-label": "Your message", onkeydown: (event) => this.key(event), oninput: () => this.grow() });
    this.send = h("button", { class: "primary" }, "Send");
    this.stop = button("Stop", () => this.running?.abort(), { hidden: true });
    this.meter = h("p", { class: "small quiet meter" });
    this.status = h("div", { class: "status" });
    const colors = h("input", { type: "checkbox", checked: this.colored, onchange: () => this.color(colors.checked) });
    const form = h("form", { class: "composer card", onsubmit: (event) => (event.preventDefault(), this.say(this.box.value)) }, this.box, h("div", { class: "row" }, this.send, this.stop));
    const picker = modelPicker({ models: this.models, value: this.model.id, onchange: (model) => this.change(model) });
    root.append(
      h("div", { class: "row between head" },
        h("div", { class: "row" }, h("h1", { class: "hidden" }, title), button("Conversations", () => this.talks.toggle(), { class: "link talks-opener" }), picker),
        h("div", { class: "row" }, h("label", { class: "row small" }, colors, "color by surprise"),
          button("Save as JSONL", () => this.save(), { kind: "link", title: "This conversation, as folio sft reads it" }),
          button("Settings", () => this.panel.toggle(), { class: "link panel-opener" }))),
      h("div", { class: "chat" }, this.talks.node,
        h("div", { class: "talk" }, this.start, this.log, this.status, h("div", { class: "foot" }, form, h("div", { class: "row between" }, this.meter))),
        this.panel.node),
    );
    root.addEventListener("keydown", (event) => event.key === "Escape" && (this.running ? this.running.abort() : this.panel.dismiss()));
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.say(this.box.value);
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 220)}px`;
  }

  /** Open a conversation; null: a new one. */
  async open(conversation) {
    this.running?.abort();
    this.talk = conversation ?? newConversation(this.talk?.system ?? recall("system", ""));
    this.system.value = this.talk.system;
    this.panel.forget();
    remember("talk", this.talk.id);
    this.shown.clear();
    this.built.clear();
    this.render();
    this.talks.refresh(this.talk.id);
    if (!conversation) await this.invite();
    this.box.focus({ preventScroll: true });
  }

  /** Say what the model was taught, with examples to start from. */
  async invite() {
    fill(this.start);
    const about = await post("/page/api/about", { model: this.model.id }, { signal: this.context.signal }).catch(() => null);
    this.about = about;
    if (!about || shownTurns(this.talk).length) return;
    const { taught } = about;
    fill(this.start, h("div", { class: "empty" },
      h("h2", {}, "Talk with your model"),
      taught ? h("p", {}, "It was taught, as far as its text allows: ", h("span", { class: "quiet" }, `${taught.skills.join(", ")}.`), " Click any letter of an answer to see what else it might have said.")
        : h("p", { class: "quiet" }, "Whatever you say, it answers as its training taught it. Click any letter of an answer to see what else it might have said."),
      taught?.examples.length > 0 && h("div", { class: "starters" }, taught.examples.map((example) => button(example, () => this.say(example), { kind: "starter card" })))));
  }

  /** Bring the log to what the tree shows. Turns that stay keep their elements, or a screen reader would read them again. */
  render() {
    const turns = shownTurns(this.talk);
    const elements = turns.map((node, at) => this.elementOf(node, at === turns.length - 1));
    const last = turns.findLast((turn) => turn.role === "assistant");
    if (last?.dropped) elements.splice(last.dropped, 0, this.windowEnd);
    arrange(this.log, elements);
    if (turns.length) fill(this.start);
    this.tellMeter(last);
  }

  /** Return the element of a turn: the one it has, as long as nothing around it has changed. */
  elementOf(node, isLast) {
    const versions = versionsOf(this.talk, node);
    const beside = isLast && node.group ? versions.filter((each) => each.group === node.group) : [];
    const sign = JSON.stringify([versions.map((each) => each.id), beside.length, node.note, node.role === "user" && node.content]);
    const known = this.built.get(node.id);
    if (known?.sign === sign) return known.element;
    const element = this.newElement(node, versions, beside);
    this.built.set(node.id, { sign, element });
    return element;
  }

  newElement(node, versions, beside) {
    if (node.role === "user") {
      return userTurn(node, versions, { edit: (text) => this.ask(turnBefore(this.talk, node), text), choose: (each) => this.choose(each) }).node;
    }
    if (beside.length < 2) return this.answerNode(node, versions, this.model.id, false);
    return h("div", { class: "beside" }, beside.map((each, at) => this.answerNode(each, versions, `Answer ${at + 1}`, true)));
  }

  answerNode(node, versions, label, take) {
    const turn = answerTurn(node, versions, {
      look: (at, strip) => this.look(node, at, strip), move: (at, strip) => this.later(node, at, strip), enter: () => this.panel.focus(), retry: () => this.answer(turnBefore(this.talk, node), { n: 1 }),
      goOn: () => this.goOn(node), saw: () => this.saw(node), choose: (each) => this.choose(each), take: () => this.take(node),
    }, { colored: this.colored, label, take });
    if (!this.writing.has(node)) turn.finish();
    this.shown.set(node.id, turn);
    return turn.node;
  }

  /** Say something. */
  say(text) {
    if (!text.trim() || this.running) return;
    this.box.value = "";
    this.grow();
    this.ask(shownTurns(this.talk).at(-1) ?? null, text);
  }

  /** Put a question after a turn, and have it answered. */
  ask(after, text) {
    const asked = addTurn(this.talk, after, { role: "user", content: text });
    return this.answer(asked, { n: this.settings.n });
  }

  /** Have a question answered, once or several times side by side. */
  async answer(asked, { n }) {
    if (this.running) return;
    fill(this.status);
    const before = versionsOfAnswers(this.talk, asked).length;
    await this.run(async (signal) => {
      const seen = await this.see(asked, signal);
      const group = n > 1 ? `${asked.id}-${before}` : null;
      const seed = this.settings.seed + before;
      const nodes = Array.from({ length: n }, () => addTurn(this.talk, asked, {
        role: "assistant", content: "", tokens: [], prompt: seen.ids, dropped: seen.n_dropped, blockSize: seen.block_size, model: this.model.id, seed, group, finish: "stopped",
      }));
      this.writing = new Set(nodes);
      this.render();
      this.follow(true);
      await this.stream(nodes, { messages: seen.messages, settings: { ...this.settings, n, seed }, signal });
    }, asked);
  }

  /** Return what the model will see of the conversation, and note in the question what it does not know. */
  async see(asked, signal) {
    this.render();
    const seen = await post("/page/api/prompt", { model: this.model.id, messages: messagesTo(this.talk, asked), answer: this.settings.maxTokens }, { signal });
    asked.content = seen.messages.at(-1).content;
    asked.note = seen.unknown ? `The model has never seen ${[...seen.unknown].join(" ")}: left out.` : null;
    return seen;
  }

  /** Let answers grow as they come. start: ids to continue in place of messages. */
  async stream(nodes, { messages, start, settings, signal }) {
    const room = nodes[0].blockSize - (start ?? nodes[0].prompt).length;
    const some = { ...settings, maxTokens: Math.min(settings.maxTokens, room) };
    const stopped = (error) => {
      if (error.name !== "AbortError") throw error;
    };
    const read = async () => {
      for await (const piece of generate({ model: nodes[0].model, messages, start, settings: some, signal })) {
        const node = nodes[piece.index];
        node.content += piece.text;
        node.seed = piece.seed ?? node.seed; // that repeats this answer alone
        for (const token of piece.tokens) node.tokens.push(token), this.shown.get(node.id)?.strip.add(token);
        if (piece.finish) node.finish = piece.finish === "length" && some.maxTokens === room ? "full" : piece.finish;
        this.follow();
      }
    };
    if (some.maxTokens > 0) await read().catch(stopped);
    else nodes[0].finish = "full";
    for (const node of nodes) if (!node.content) removeTurn(this.talk, node);
    if (nodes.every((node) => !node.content)) fill(this.status, h("p", { class: "notice" }, "The model ended at once, without an answer. Try another seed, or ask in other words."));
    await Promise.all(nodes.filter((node) => node.content).map((node) => this.judge(node)));
  }

  /** Run something that writes: with Stop in place of Send, and kept at its end. */
  async run(does, asked) {
    const running = (this.running = new AbortController());
    this.busy(true);
    try {
      await does(running.signal);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.status, problem(error, () => this.answer(asked, { n: 1 })));
    } finally {
      this.running = null;
      const isBelow = this.isAtEnd();
      for (const node of this.writing) this.shown.get(node.id)?.finish();
      this.writing.clear();
      this.render();
      this.busy(false);
      this.follow(isBelow);
      announce("The answer is complete.");
      await keepConversation(this.talk);
      this.talks.refresh(this.talk.id);
    }
  }

  /** Ask the checker of known requests about an answer. */
  async judge(node) {
    const messages = messagesTo(this.talk, node).filter((each) => each.role !== "system").slice(-3);
    Object.assign(node, await post("/page/api/remark", { model: node.model, messages }).catch(() => ({})));
  }

  /** Write an answer anew from another token at a place; the old one stays as a version. */
  instead(node, at, token) {
    const tokens = [...node.tokens.slice(0, at), token];
    const asked = turnBefore(this.talk, node);
    const seed = this.settings.seed + versionsOf(this.talk, node).length;
    const { prompt, dropped, blockSize, model } = node;
    const ends = token.special;
    const content = tokens.filter((each) => !each.special).map((each) => each.piece).join("");
    const next = addTurn(this.talk, asked, { role: "assistant", content, tokens: ends ? tokens.slice(0, -1) : tokens, prompt, dropped, blockSize, model, seed, group: null, finish: ends ? "stop" : "stopped" });
    return this.goOn(next, !ends);
  }

  /** Let an answer go on where it stopped. */
  goOn(node, writes = true) {
    const start = [...node.prompt, ...node.tokens.map((token) => token.id)];
    return this.run(async (signal) => {
      this.panel.forget();
      this.writing.add(node);
      this.shown.get(node.id)?.begin();
      this.render();
      if (writes) await this.stream([node], { start, settings: { ...this.settings, n: 1, seed: node.seed }, signal });
      else await this.judge(node);
    }, turnBefore(this.talk, node));
  }

  /** Look at a token of an answer; where the focus only moves to it, soon, and in silence. */
  later(node, at, strip) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.look(node, at, strip, false), 140);
  }

  look(node, at, strip, speak = true) {
    clearTimeout(this.waiting);
    if (this.strip && this.strip !== strip) this.strip.mark(-1);
    this.strip = strip;
    strip.mark(at);
    this.panel.toggle(true);
    const ids = [...node.prompt, ...node.tokens.slice(0, at + 1).map((token) => token.id)];
    const before = Array.from(node.prompt, () => "");
    this.panel.look({
      model: node.model, ids, position: ids.length - 1, anchor: strip.node.children[at], pieces: [...before, ...node.tokens.map((token) => token.piece)],
      oncontinue: (id, piece, special) => !this.running && this.instead(node, at, { id, piece, special, nats: null }),
    }, { speak });
  }

  saw(node) {
    showSeen({ node, blockSize: node.blockSize, oninside: (ids, position) => this.lookInside(ids, position, node.model) });
  }

  lookInside(ids, position, model = this.model.id) {
    this.context.handOver({ model, ids, position });
    this.context.go("inside");
  }

  choose(node) {
    if (this.running) return;
    chooseTurn(this.talk, node);
    this.panel.forget();
    this.render();
    keepConversation(this.talk);
  }

  take(node) {
    node.group = null; // from now on it stands alone, the others are its versions
    this.choose(node);
    this.box.focus();
  }

  tellMeter(node) {
    const used = node ? node.prompt.length + node.tokens.length : 0;
    this.meter.textContent = node ? `${used} of ${node.blockSize} tokens of its context used` : "";
  }

  busy(on) {
    this.log.setAttribute("aria-busy", String(on));
    this.send.hidden = on;
    this.stop.hidden = !on;
    if (!on && document.activeElement === document.body) this.box.focus({ preventScroll: true });
  }

  isAtEnd() {
    return document.documentElement.scrollHeight - scrollY - innerHeight < 140;
  }

  /** Keep the end in sight, where it was; once for each picture of the screen. */
  follow(always = false) {
    if (this.following || !(always || this.isAtEnd())) return;
    this.following = requestAnimationFrame(() => {
      this.following = null;
      scrollTo(0, document.documentElement.scrollHeight);
    });
  }

  color(on) {
    this.colored = on;
    remember("colored", on);
    for (const { strip } of this.shown.values()) strip?.color(on);
  }

  change(model) {
    this.model = model;
    remember("chat-model", model.id);
    this.panel.forget();
    this.invite();
  }

  setSystem(text) {
    this.talk.system = text;
    remember("system", text);
  }

  save() {
    const line = asLine(this.talk);
    if (line) download("conversation.jsonl", line);
    else fill(this.status, h("p", { class: "notice" }, "There is no answer to save yet."));
  }
}

/** Have an element hold these children, and move none that is in its place. */
function arrange(parent, children) {
  children.forEach((child, at) => parent.children[at] !== child && parent.insertBefore(child, parent.children[at] ?? null));
  while (parent.children.length > children.length) parent.lastChild.remove();
}

const versionsOfAnswers = (talk, asked) => asked.children.map((id) => talk.nodes[id]);
