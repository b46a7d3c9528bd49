// Several runs beside each other: one metric as lines, and what each kept as a table.

import { fill, h } from "./dom.js";
import { poll } from "./poll.js";
import { chart, figure, smoothed } from "./chart.js";
import { inWords, present, readOn, stageName, unread } from "./runfiles.js";
import { runAddress, statusWord } from "./runlist.js";
import { problem } from "./ui.js";

const LOOKS = ["run1", "run2", "run3", "run4"];
const FIRST = ["val_loss", "val_reward", "val_accuracy", "loss"];
const SECONDS = 4;
const MEMORY = 0.9;

/** Fill the root with a comparison of runs. */
export function showComparison(root, context, ids) {
  const { signal } = context;
  const shown = ids.slice(0, LOOKS.length).map(unread);
  const drawing = chart({ title: "", x: "step", height: 320, signal });
  const select = h("select", { "aria-label": "Metric", onchange: () => draw() });
  const table = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The runs, as a table" });
  const trouble = h("div", {});
  fill(root,
    h("p", { class: "crumbs" }, h("a", { href: "#/runs" }, "All runs")), h("h1", {}, "Compare runs"), trouble,
    ids.length > shown.length && h("p", { class: "notice" }, `The first ${shown.length} of ${ids.length} runs are shown.`),
    h("h2", { class: "hidden" }, "One metric of all"), h("div", { class: "picker" }, select), drawing.node, table);

  function draw() {
    const name = select.value;
    const lines = shown.map((each, n) => {
      const found = present(each.columns, name);
      const isSparse = found.x.length <= 0.5 * (each.columns.step?.length ?? 0);
      return { label: each.id, look: LOOKS[n], x: found.x, y: isSparse ? found.y : smoothed(found.y, MEMORY) };
    }).filter((line) => line.x.length);
    drawing.setTitle(inWords(name));
    const first = lines.map((line) => line.y[Math.min(line.y.length - 1, 20)]);
    drawing.draw({ lines, top: name === "loss" ? Math.max(...first) : undefined, summary: `${lines.map((line) => `${line.label}: ${figure(line.y[0])} to ${figure(line.y.at(-1))}`).join("; ")}.` });
  }

  function offer() {
    const names = [...new Set(shown.flatMap((each) => Object.keys(each.columns)))].filter((name) => !["step", "rollout"].includes(name));
    if (names.join() === [...select.options].map((option) => option.value).join()) return;
    const value = select.value || FIRST.find((name) => shown.every((each) => name in each.columns)) || names[0];
    fill(select, names.map((name) => h("option", { value: name, selected: name === value }, inWords(name))));
  }

  function tabulate() {
    const metrics = [...new Set(shown.flatMap((each) => (each.run.kept ?? []).map(([name]) => name)))];
    fill(table, h("table", {},
      h("thead", {}, h("tr", {}, ["Run", "Stage", "Status", "Steps", ...metrics].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, shown.map(({ id, run }) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: runAddress(id) }, id)),
        h("td", {}, stageName(run.stage)), h("td", {}, statusWord(run.status)), h("td", {}, run.step.toLocaleString("en")),
        metrics.map((name) => h("td", {}, Object.fromEntries(run.kept ?? [])[name] ?? "")))))));
  }

  const again = poll(signal, async () => {
    for (const each of shown) {
      while (!(await readOn(each, signal)).isWhole);
    }
    fill(trouble);
    offer();
    draw();
    tabulate();
    return shown.some((each) => each.run.status === "running") ? SECONDS : 0;
  }, (error) => fill(trouble, problem(error, () => again())));
}
