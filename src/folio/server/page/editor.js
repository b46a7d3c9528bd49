// A text that a person and a model write together: a plain text field over the same text as tokens, which carry the colors.

import { h } from "./dom.js";
import { surpriseStep } from "./tokens.js";

/** Return an editor: { node, field, tokens, text, add, cut, replace, mark, at, recolor }.
 *
 * tokens: [{ id, piece, nats, made }], whose pieces joined are the text up to `text`, what was typed and is not read yet.
 * onedit(): someone typed. onplace(at): the caret, or the mouse, is at a token (its number; that of tokens.length at the end). */
export function tokenEditor({ label, placeholder, onedit, onplace }) {
  const back = h("div", { class: "back", "aria-hidden": true });
  const tail = document.createTextNode("");
  back.append(tail);
  const area = h("textarea", { class: "front", "aria-label": label, placeholder, spellcheck: "false", rows: 1 });
  const node = h("div", { class: "editor" }, back, area);
  const editor = { node, field: area, tokens: [] };
  const spans = back.children;
  let marked = -1;

  const pieces = (tokens) => tokens.map((token) => token.piece).join("");
  const paint = (token) => `t s${surpriseStep(token.nats)}`;
  const append = (token) => {
    editor.tokens.push(token);
    tail.before(h("span", { class: paint(token) }, token.piece));
  };
  Object.defineProperty(editor, "text", { get: () => area.value });
  /** What is typed after the last token, and not read yet. */
  Object.defineProperty(editor, "unread", { get: () => area.value.slice(pieces(editor.tokens).length) });

  /** Append what the model wrote. */
  editor.add = (token) => {
    append(token);
    area.setRangeText(token.piece, area.value.length, area.value.length, "preserve");
  };
  /** Take in what was typed, now read as tokens. */
  editor.take = (tokens) => {
    tokens.forEach(append);
    tail.data = `${editor.unread}\u200b`;
  };
  /** Keep the first tokens only. */
  editor.cut = (length) => {
    while (editor.tokens.length > length) editor.tokens.pop(), spans[spans.length - 1].remove();
    if (marked >= length) marked = -1;
  };
  /** Replace all: by tokens, and text after them. */
  editor.replace = (tokens, unread = "") => {
    let same = 0;
    while (same < tokens.length && tokens[same] === editor.tokens[same]) same += 1;
    editor.cut(same);
    tokens.slice(same).forEach(append);
    area.value = pieces(tokens) + unread;
    tail.data = `${unread}\u200b`;
  };
  editor.recolor = (from, nats) => nats.forEach((each, at) => {
    const token = editor.tokens[from + at];
    if (!token || each == null) return;
    token.nats = each;
    spans[from + at].className = paint(token) + (from + at === marked ? " chosen" : "");
  });
  editor.mark = (at) => {
    spans[marked]?.classList.remove("chosen");
    marked = at;
    spans[at]?.classList.add("chosen");
  };
  /** Return the number of the token that a place in the text belongs to. */
  editor.at = (offset) => {
    let end = 0;
    const found = editor.tokens.findIndex((token) => (end += token.piece.length) > offset);
    return found < 0 ? editor.tokens.length : found;
  };
  /** Return how far down the page a token's line begins, in pixels of the editor. */
  editor.top = (at) => spans[at]?.offsetTop ?? 0;
  editor.span = (at) => spans[at];

  area.addEventListener("input", () => {
    let same = 0;
    let end = 0;
    for (const { piece } of editor.tokens) {
      if (!area.value.startsWith(piece, end)) break;
      end += piece.length;
      same += 1;
    }
    while (same && !editor.tokens[same - 1].made) same -= 1; // what was typed is read again as a whole
    editor.cut(same);
    tail.data = `${editor.unread}\u200b`;
    onedit();
  });
  const caret = () => area.selectionStart === area.selectionEnd && onplace(editor.at(area.selectionStart));
  area.addEventListener("keyup", (event) => MOVES.has(event.key) && caret());
  area.addEventListener("click", (event) => {
    const under = document.elementsFromPoint(event.clientX, event.clientY).find((each) => each.parentNode === back);
    const at = [...spans].indexOf(under);
    if (area.selectionStart === area.selectionEnd) onplace(at < 0 ? editor.at(area.selectionStart) : at);
  });
  return editor;
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);
