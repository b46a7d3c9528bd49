// One turn of a conversation on the page.

import { fill, h } from "./dom.js";
import { tokenStrip } from "./tokens.js";
import { button, sentence } from "./ui.js";

const ENDS = { length: "reached max tokens", stopped: "stopped", full: "the context is full" };

/** Return the links that go through the versions of a turn, or nothing where there is one. */
function versionLinks(versions, node, onchoose) {
  if (versions.length < 2) return null;
  const at = versions.indexOf(node);
  const to = (by) => () => onchoose(versions[(at + by + versions.length) % versions.length]);
  return h("span", { class: "versions" },
    button("‹", to(-1), { kind: "link", "aria-label": "Version before" }), `${at + 1}/${versions.length}`,
    button("›", to(1), { kind: "link", "aria-label": "Next version" }));
}

/** Return what someone typed: { node }. acts: { edit(text), choose(node) }. */
export function userTurn(node, versions, acts) {
  const body = h("p", { class: "said" }, node.content);
  const actions = h("div", { class: "actions" }, button("Edit", edit, { kind: "link" }), versionLinks(versions, node, acts.choose));
  const notes = h("div", {}, node.note && h("p", { class: "notice" }, node.note));
  const place = h("div", {}, body);
  function edit() {
    const area = h("textarea", { value: node.content, rows: Math.min(10, node.content.split("\n").length + 1), "aria-label": "Edit your message" });
    const close = () => fill(place, body);
    const form = h("form", { class: "stack tight", onsubmit: (event) => (event.preventDefault(), area.value.trim() && acts.edit(area.value)) },
      area, h("div", { class: "row" }, h("button", { class: "primary" }, "Ask this instead"), button("Cancel", close)));
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Enter" && !event.shiftKey) event.preventDefault(), form.requestSubmit();
    });
    fill(place, form);
    area.focus();
  }
  return { node: h("div", { class: "turn user" }, h("h2", { class: "hidden" }, "You"), place, notes, actions) };
}

/** Return an answer: { node, strip, begin(), finish() }.
 *
 * acts: { look(at, strip), move(at, strip), enter(), retry(), goOn(), saw(), choose(node), take(node) }. colored: whether its surprise shows. label: its
 * name. take: whether it stands beside others, and one is to be taken. */
export function answerTurn(node, versions, acts, { colored, label, take = false }) {
  const strip = tokenStrip({ label, onchoose: (at) => (strip.look(true), press(), acts.look(at, strip)), onmove: (at) => acts.move(at, strip), onenter: acts.enter });
  const tokens = button("Tokens", () => (strip.look(!strip.looked), press(), strip.looked && strip.focus()), { kind: "link", "aria-pressed": "false", title: "Show each token; the arrow keys move from one to the next" });
  const press = () => tokens.setAttribute("aria-pressed", String(strip.looked));
  const actions = h("div", { class: "actions" });
  const notes = h("div", { class: "notes" });
  const heading = take ? h("h3", { class: "small quiet" }, label) : h("h2", { class: "hidden" }, label);
  const turn = { node: h("div", { class: `turn answer${take ? " card" : ""}` }, heading, strip.node, notes, actions), strip };
  strip.color(colored);
  node.tokens.forEach((token) => strip.add(token));

  /** Show nothing that can be done, while it is written. */
  turn.begin = () => (fill(actions), fill(notes));
  /** Show what can be done, now that the answer has ended. */
  turn.finish = () => {
    const told = [`seed ${node.seed}`, `${node.tokens.length} tokens`, ENDS[node.finish] ?? ""];
    fill(actions,
      take && button("Continue with this one", () => acts.take(node)),
      tokens, !take && button("Retry", acts.retry, { kind: "link" }),
      node.finish !== "stop" && button("Continue writing", acts.goOn, { kind: "link" }),
      button("Copy", (event) => navigator.clipboard?.writeText(node.content).then(() => (event.target.textContent = "Copied")), { kind: "link" }),
      button("What it saw", acts.saw, { kind: "link" }),
      !take && versionLinks(versions, node, acts.choose),
      h("span", { class: "small quiet" }, told.filter(Boolean).join(" · ")));
    fill(notes, node.remark && h("p", { class: `remark ${node.met === true ? "met" : ""}` }, node.met === true ? "✓ " : "", sentence(node.remark)));
  };
  return turn;
}
