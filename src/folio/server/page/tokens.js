// A text as its tokens: one widget, in which the arrow keys move. Tokens are only ever appended or cut off at the end.

import { h } from "./dom.js";
import { percent } from "./ui.js";

const STEPS = [0.5, 0.2, 0.05, 0.01];
const NAMES = { " ": "space", "\n": "line end", "\t": "tab", "": "part of a character", "\ufffd": "part of a character" };
const SIGNS = { " ": "␣", "\n": "↵", "\t": "⇥", "": "·", "\ufffd": "·" };

/** Return how surprising a token is: 1 (at least every second time) to 5 (less than once in a hundred); 0 where unknown. */
export function surpriseStep(nats) {
  if (nats == null) return 0;
  const at = STEPS.findIndex((least) => Math.exp(-nats) >= least);
  return at < 0 ? 5 : at + 1;
}

/** Return the name of a token, a special one without its frame: "end" for "<|end|>". */
export const nameOf = (piece, special) => (special ? piece.replace(/^<\|(.*)\|>$/, "$1") : piece);

/** Return a token as visible signs. */
export const visible = (piece) => SIGNS[piece] ?? (piece.startsWith("bytes:") ? piece.slice(6).replaceAll("\\x", " ").trim() : shownAs(piece));

const shownAs = (piece) => piece.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");

/** Return a token as a screen reader should say it. */
export const spoken = (piece) => NAMES[piece] ?? (piece.trim() ? piece : "spaces and line ends");

/** Return the legend of the five steps. */
export function surpriseLegend() {
  const steps = ["50% or more", "20 to 50%", "5 to 20%", "1 to 5%", "below 1%"];
  return h(
    "p", { class: "legend small quiet" }, "Probability of each token: ",
    steps.map((step, at) => h("span", { class: `t s${at + 1}` }, step)),
  );
}

/** Return a strip of tokens: { node, tokens, add, cut, weigh, color, look, mark, choose, focus }.
 *
 * label: its name. onchoose(at): a token was clicked, or Enter pressed on it. onenter(): Enter was pressed on it again.
 * onmove(at): the focus moved to it.
 * look: whether tokens are reached one by one from the start. */
export function tokenStrip({ label, onchoose = () => {}, onmove = () => {}, onenter = () => {}, look = false }) {
  const node = h("div", { class: "tokens" });
  const strip = { node, tokens: [], chosen: -1, looked: false };
  const spans = node.children;
  let current = 0;

  strip.add = (token) => {
    const at = strip.tokens.push(token) - 1;
    const span = h("span", { class: `t s${surpriseStep(token.nats)}${token.special ? " special" : ""}` }, content(token));
    if (strip.looked) asOption(span, at);
    node.append(span);
    if (strip.looked && at === 0) asList();
  };
  strip.cut = (length) => {
    while (strip.tokens.length > length) strip.tokens.pop(), node.lastChild.remove();
    if (strip.chosen >= length) strip.chosen = -1;
    current = Math.min(current, Math.max(0, length - 1));
    if (!length) node.removeAttribute("role");
    else if (strip.looked) spans[current].tabIndex = 0;
  };
  /** Shade tokens by weights from 0 to 1 (null: by surprise again). */
  strip.weigh = (weights) => {
    node.classList.toggle("weighed", weights != null);
    const most = weights ? Math.max(...weights, 1e-9) : 1;
    for (let at = 0; at < spans.length; at += 1) {
      const weight = weights?.[at];
      if (weight == null) spans[at].style.removeProperty("--weight");
      else spans[at].style.setProperty("--weight", (weight / most).toFixed(3));
      spans[at].classList.toggle("strong", weight != null && weight > 0.1);
    }
  };
  /** Show surprise, or not; to the eye alone. */
  strip.color = (on) => node.classList.toggle("colored", on);
  /** Make tokens reachable one by one, or a plain text again. */
  strip.look = (on) => {
    strip.looked = on;
    node.classList.toggle("looked", on);
    for (let at = 0; at < spans.length; at += 1) on ? asOption(spans[at], at) : asText(spans[at]);
    on && spans.length ? asList() : node.removeAttribute("role");
    if (!on) strip.mark(-1);
  };
  /** Mark a token as the chosen one (-1: none). */
  strip.mark = (at) => {
    spans[strip.chosen]?.setAttribute("aria-selected", "false");
    spans[strip.chosen]?.classList.remove("chosen");
    strip.chosen = at;
    if (at < 0 || !spans[at]) return;
    spans[at].setAttribute("aria-selected", "true");
    spans[at].classList.add("chosen");
    rove(at);
  };
  strip.choose = (at) => (strip.mark(at), onchoose(at));
  strip.focus = (at = current) => (rove(at), spans[at]?.focus());

  function asList() {
    node.setAttribute("role", "listbox");
    node.setAttribute("aria-orientation", "horizontal");
    node.setAttribute("aria-label", label);
    spans[current].tabIndex = 0;
  }
  function asOption(span, at) {
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", String(at === strip.chosen));
    span.setAttribute("aria-label", labelOf(strip.tokens[at]));
    span.tabIndex = -1;
  }
  function asText(span) {
    for (const name of ["role", "aria-selected", "aria-label", "tabindex"]) span.removeAttribute(name);
  }
  function rove(at) {
    if (!strip.looked || !spans[at]) return;
    if (spans[current]) spans[current].tabIndex = -1;
    current = at;
    spans[at].tabIndex = 0;
  }
  node.addEventListener("click", (event) => {
    const at = [...spans].indexOf(event.target.closest(".t"));
    if (at < 0 || String(getSelection())) return; // someone marks text to copy
    strip.choose(at);
    if (strip.looked) spans[at]?.focus({ preventScroll: true }); // from here on the keys move
  });
  node.addEventListener("keydown", (event) => {
    if (!strip.looked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (current === strip.chosen) onenter();
      else strip.choose(current);
    }
    const at = MOVES[event.key]?.(current, spans);
    if (at == null) return;
    event.preventDefault();
    strip.focus(Math.max(0, Math.min(spans.length - 1, at)));
    onmove(current);
  });
  strip.look(look);
  return strip;
}

const labelOf = ({ piece, nats }) => spoken(piece) + (nats == null ? "" : `, ${percent(Math.exp(-nats))}`);

const MOVES = {
  ArrowLeft: (at) => at - 1,
  ArrowRight: (at) => at + 1,
  Home: () => 0,
  End: (at, spans) => spans.length - 1,
  ArrowUp: (at, spans) => lineBeside(at, spans, -1),
  ArrowDown: (at, spans) => lineBeside(at, spans, 1),
};

/** Return the token below or above another, as lines are broken on the screen. */
function lineBeside(from, spans, direction) {
  const place = (at) => spans[at].getClientRects()[0];
  const start = place(from);
  let line = null;
  let best = from;
  for (let at = from + direction; at >= 0 && at < spans.length; at += direction) {
    const rect = place(at);
    if (Math.abs(rect.top - start.top) < 4) continue;
    line ??= rect.top;
    if (Math.abs(rect.top - line) >= 4) break;
    if (best === from || Math.abs(rect.left - start.left) < Math.abs(place(best).left - start.left)) best = at;
  }
  return best;
}

/** Return what a token's element holds: signs for what cannot be seen, which plain text hides. */
function content({ piece, special }) {
  if (special) return nameOf(piece, special);
  if (piece === "" || piece === "\ufffd") return h("span", { class: "sign" }, "·");
  const parts = piece.split(/(\n|\t)/).filter(Boolean);
  return parts.map((part) => (part in SIGNS && part !== " " ? [h("span", { class: "sign", "aria-hidden": true }, SIGNS[part]), part] : part));
}
