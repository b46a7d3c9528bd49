// What was judged so far: how many pairs, how many more are useful, how one agrees with oneself, before and after.

import { fill, h } from "./dom.js";
import { percent } from "./ui.js";

const KINDS = { left: "left", right: "right", tie: "tie", bad: "both bad", skip: "skipped" };

/** Return the numbers: { node, show(told, model) }. */
export function statistics() {
  const node = h("section", { class: "numbers", "aria-label": "What you have judged" });
  return {
    node,
    show(told, model) {
      fill(node, goal(told), agreement(told), told.compared.filter(({ n }) => n).map(compared), files(told, model));
    },
  };
}

function goal({ pairs, counts, goal: next }) {
  const words = pairs === 1 ? "1 pair" : `${pairs} pairs`;
  const kinds = Object.entries(KINDS).filter(([kind]) => counts[kind]).map(([kind, name]) => `${counts[kind]} ${name}`);
  return h("div", {},
    h("h2", {}, words), next && h("progress", { value: pairs, max: next.pairs, "aria-label": `Pairs of ${next.pairs}` }),
    h("p", { class: "small" }, next ? `${next.pairs - pairs} more to reach ${next.pairs}: ${next.why}.` : "That is more than folio's own reward models learned from."),
    h("p", { class: "small quiet" }, kinds.length ? `You said: ${kinds.join(", ")}.` : "Ties and “both bad” are kept, but teach a reward model nothing."));
}

function agreement({ repeated, agreed }) {
  const words = repeated
    ? `${agreed} of ${repeated} pairs that came again you judged as before. What you judged both ways is left out.`
    : "One pair in ten comes again. No reward model can agree with you more often than you do with yourself.";
  return h("div", {}, h("h2", {}, repeated ? `${percent(agreed / repeated)} agreement with yourself` : "Your own agreement"), h("p", { class: "small" }, words),
    h("p", { class: "small quiet" }, "Two of InstructGPT's labelers agreed with each other in 73 of 100."));
}

function compared({ before, after, n, share, low, high }) {
  const verdict = low > 0.5 ? `${after} is better.` : high < 0.5 ? `${before} was better.` : "It may still be chance.";
  return h("div", {}, h("h2", {}, `${after}: preferred in ${percent(share)}`),
    h("p", { class: "small" }, `Of ${n} pairs with ${before}, ties counting half. 95% interval: ${percent(low)} to ${percent(high)}. ${verdict}`));
}

function files({ file, folder, run, pairs }) {
  return h("div", {}, h("h2", {}, "Where the pairs are kept"),
    h("p", { class: "small" }, "In ", h("code", {}, `${folder}/${file}`), ", as prompt, chosen and rejected."),
    pairs > 0 && h("p", { class: "small" }, "Train a reward model on them: ", h("code", {}, `folio reward ${run} --data ${folder}/${file}`)));
}
