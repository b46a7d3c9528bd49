// All runs, the newest first, and what the page has started.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { ago, poll } from "./poll.js";
import { stageName } from "./runfiles.js";
import { startPanel } from "./training.js";
import { button, empty, problem } from "./ui.js";

const SECONDS = 2;
const IDLE_SECONDS = 6;
const WORDS = {
  running: "training", finished: "finished", interrupted: "stopped", killed: "ended unsaved", failed: "failed", damaged: "damaged",
};

/** Return how a run stands, as a word with a sign. */
export const statusWord = (status) => h("span", { class: `status ${status}` }, WORDS[status] ?? status);

/** Return the address of a run. */
export const runAddress = (id) => `#/runs/${encodeURIComponent(id)}`;

/** Fill the root with the list. */
export function showRuns(root, context) {
  const chosen = new Set();
  const rows = new Map();
  const list = h("ul", { class: "run-list", role: "list" });
  const compare = button("Compare", () => context.go("runs", [], { compare: [...chosen].map(encodeURIComponent).join(",") }), { disabled: true });
  const told = h("p", { class: "quiet small" });
  const trouble = h("div", {});
  const heading = h("div", { class: "row between" }, h("h2", {}, "All runs"), compare);
  const below = h("section", { class: "stack" }, heading, trouble, list, told);
  const start = startPanel(context, () => again());
  root.append(h("h1", {}, "Runs"), start.node, below);

  function choose(id, isChosen) {
    if (isChosen) chosen.add(id);
    else chosen.delete(id);
    compare.disabled = chosen.size < 2;
    compare.textContent = chosen.size > 1 ? `Compare ${chosen.size}` : "Compare";
  }

  const again = poll(context.signal, async () => {
    const { runs, n_runs, now } = await get("/page/api/runs", { signal: context.signal });
    fill(trouble);
    heading.hidden = list.hidden = told.hidden = !runs.length;
    if (!runs.length) fill(trouble, nothing());
    for (const run of runs) {
      if (!rows.has(run.id)) rows.set(run.id, row(choose));
      rows.get(run.id).show(run, now);
    }
    const nodes = runs.map((run) => rows.get(run.id).node);
    nodes.forEach((node, at) => list.children[at] !== node && list.insertBefore(node, list.children[at] ?? null));
    while (list.children.length > nodes.length) list.lastChild.remove();
    told.textContent = n_runs > runs.length ? `The newest ${runs.length} of ${n_runs} runs are shown.` : "To compare runs, check two or more of them.";
    await start.update(runs);
    return runs.some((run) => run.status === "running") || start.isBusy() ? SECONDS : IDLE_SECONDS;
  }, (error) => fill(trouble, problem(error, () => again())));
}

function row(choose) {
  const box = h("input", { type: "checkbox", onchange: () => choose(node.dataset.id, box.checked) });
  const link = h("a", {});
  const stage = h("span", { class: "stage" });
  const where = h("div", { class: "where" });
  const what = h("div", { class: "what small" });
  const when = h("span", { class: "when" });
  const node = h("li", {}, box, h("div", {}, link, stage), where, what, when);
  let shown = "";
  function show(run, now) {
    const seen = JSON.stringify([run, Math.round((now - run.changed) / (now - run.changed < 90 ? 1 : 60))]);
    if (seen === shown) return;
    shown = seen;
    node.dataset.id = run.id;
    box.setAttribute("aria-label", `Compare ${run.id}`);
    link.textContent = run.id;
    link.href = runAddress(run.id);
    stage.textContent = stageName(run.stage);
    const steps = run.steps ? `${run.step.toLocaleString("en")} of ${run.steps.toLocaleString("en")} steps` : "";
    const isOpen = run.status !== "finished" && run.steps;
    fill(where, statusWord(run.status), isOpen && h("span", { class: "stage" }, steps),
      run.status === "running" && run.steps && h("progress", { value: run.step, max: run.steps, "aria-label": `Steps of ${run.id}` }));
    what.textContent = run.problem ?? (run.kept ?? []).map((each) => each.join(" ")).join(", ");
    when.textContent = run.changed ? ago(now - run.changed) : "";
  }
  return { node, show };
}

function nothing() {
  return empty("No runs yet", h("p", {}, "A run is a model and how it learned. Choose a text above to train the first one."));
}
