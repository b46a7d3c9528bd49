// The panel beside a text: what the chosen token might have been instead, and how the model draws.

import { announce, fill, h } from "./dom.js";
import { post } from "./api.js";
import { distributionPanel } from "./distribution.js";
import { changeSettings, settingsFields } from "./settings.js";
import { spoken, surpriseStep, visible } from "./tokens.js";
import { button, percent, problem } from "./ui.js";

const CONTEXT = 24;

/** Return a panel: { node, look(place), focus(), forget(), toggle(open), close(), dismiss() }.
 *
 * settings: of `recallSettings`, changed in place. hint, legend: what to show while no token is chosen. several: see `settingsFields`.
 * extra: further nodes. oninside(place): open Look inside; null where one is there. onclose: called when the panel closes.
 * place: { model, checkpoint, ids, position, pieces, heads_off, anchor, oncontinue(id, piece, special) }: `position` is the token
 * to look at, anchor its element. */
export function sidePanel({ settings, hint, several, legend = null, extra = [], oninside = null, onclose = () => {} }) {
  let place = null;
  let asking = new AbortController();
  const shown = distributionPanel({
    sampling: settings,
    onsample: ({ temperature, topK, topP }) => changeSettings(settings, { temperature, topK, topP }),
    oncontinue: (...token) => place?.oncontinue(...token),
  });
  const status = h("div", { class: "status" });
  const inside = button("Look further inside", () => oninside(place), { kind: "link", hidden: true });
  const node = h(
    "aside", { class: "panel", "aria-label": "What else might have come, and settings" },
    h("div", { class: "row between" }, h("h2", {}, "What comes next"), button("Close", () => panel.close(), { kind: "link", class: "link close" })),
    status, shown.node, oninside && inside, settingsFields(settings, { several }), extra,
  );
  const rest = () => {
    shown.node.classList.add("unfilled");
    inside.hidden = true;
    fill(status, h("p", { class: "quiet small" }, hint), legend);
  };
  const isOver = () => panel.isOpen && getComputedStyle(node).position === "fixed";
  const panel = {
    node,
    isOpen: false,
    toggle(open = !panel.isOpen) {
      panel.isOpen = open;
      node.classList.toggle("open", open);
    },
    close() {
      panel.toggle(false);
      onclose(place);
    },
    /** Close, where it lies over the text. */
    dismiss: () => isOver() && panel.close(),
    /** Go to the first token that might have come instead. */
    focus: () => (node.querySelector(".bar-row:enabled") ?? node.querySelector("input")).focus(),
    forget() {
      asking.abort();
      place = null;
      rest();
    },
    /** Ask for the distribution of a token, and show it; what was asked before is dropped. */
    async look(given, { speak = false } = {}) {
      asking.abort();
      asking = new AbortController();
      place = given;
      const { model, checkpoint, ids, position, heads_off = [], anchor = null } = given;
      if (isOver()) keepAbove(node, anchor);
      if (position < 1) {
        rest();
        fill(status, h("p", { class: "quiet small" }, "Nothing comes before this token, so nothing predicts it."));
        return;
      }
      try {
        const { distribution } = await post(
          "/page/api/inspect", { model, checkpoint, ids, position, heads_off, parts: ["distribution"] }, { signal: asking.signal });
        fill(status);
        shown.node.classList.remove("unfilled");
        inside.hidden = false;
        shown.show(distribution, lead(given, distribution));
        if (speak) announce(node.querySelector(".lead").textContent);
      } catch (error) {
        if (error.name !== "AbortError") rest(), fill(status, problem(error));
      }
    },
  };
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.stopPropagation(), panel.close();
  });
  rest();
  return panel;
}

/** Return the sentence over a distribution: after what, what was written, how likely that was. */
function lead({ pieces, position }, { ids, logprobs, actual }) {
  const before = pieces.slice(Math.max(0, position - CONTEXT), position).join("").slice(-CONTEXT);
  const told = [h("span", { class: "quiet" }, "After "), h("q", { class: "serif" }, visible(before).trimStart())];
  const at = ids.indexOf(actual);
  if (at < 0) return told;
  const piece = pieces[position] ?? "";
  const place = at ? `choice number ${at + 1}` : "its first choice";
  return [
    ...told, h("span", { class: "quiet" }, " it wrote "),
    h("span", { class: `t s${surpriseStep(-logprobs[at])} chosen`, "aria-label": spoken(piece) }, visible(piece)),
    h("span", { class: "quiet" }, `: probability ${percent(Math.exp(logprobs[at]))}, ${place}.`),
  ];
}

/** Scroll so far that an element stands above the panel, which covers the lower part of a small screen. */
function keepAbove(panel, anchor) {
  const rect = anchor?.getBoundingClientRect();
  const top = panel.getBoundingClientRect().top;
  if (rect && (rect.bottom > top - 12 || rect.top < 90)) scrollBy(0, rect.bottom - (top - 24));
}
