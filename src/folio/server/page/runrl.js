// What reinforcement learning did: findings in words, and a panel for each metric, as `folio rl-report` has them.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { chart, figure } from "./chart.js";
import { problem } from "./ui.js";

const TRAINING = ["line", "fourth"];
const HELD = ["held", "third"];

/** Return a section: { node, show() }, which asks for the report of a run each time it is shown. */
export function rlSection(id, signal) {
  const words = h("p", {});
  const findings = h("ul", { class: "findings", role: "list" });
  const table = h("dl", { class: "facts" });
  const panels = h("div", { class: "panels" });
  const trouble = h("div", {});
  const node = h("section", { class: "stack", hidden: true }, h("h2", {}, "What the rewards did"), trouble, words, findings, panels,
    h("details", {}, h("summary", {}, "Each metric, at the start and at the end"), table));
  const charts = new Map();
  let isAsking = false;

  async function show() {
    if (isAsking) return;
    isAsking = true;
    node.hidden = false;
    try {
      const told = await get(`/page/api/rl/${encodeURI(id)}`, { signal });
      fill(trouble);
      words.textContent = told.words;
      fill(findings, told.findings.map(finding));
      fill(table, Object.entries(told.table).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
      for (const panel of told.panels) draw(panel, told.planned ?? told.rollouts);
    } catch (error) {
      if (error.name !== "AbortError") fill(trouble, problem(error));
    } finally {
      isAsking = false;
    }
  }

  function draw(panel, rollouts) {
    if (!charts.has(panel.title)) {
      charts.set(panel.title, chart({ title: panel.title, unit: panel.unit, x: "rollout", height: 190, signal }));
      panels.append(charts.get(panel.title).node);
    }
    const looks = { false: [...TRAINING], true: [...HELD] };
    const lines = panel.curves.map((curve) => ({ ...curve, look: looks[curve.is_held_out].shift() ?? "third" }));
    const change = lines.map(({ label, y }) => `${label} ${figure(y[0])} to ${figure(y.at(-1))}`).join(", ");
    charts.get(panel.title).draw({ lines, range: [0, rollouts], within: panel.within, levels: panel.level == null ? {} : { "": panel.level }, summary: `${change}.` });
  }
  return { node, show };
}

const finding = (found) => h("li", { class: found.severity },
  h("h3", {}, `${found.title} `, h("span", { class: "quiet small" }, found.severity)),
  h("p", {}, found.observed), h("p", {}, found.cause), h("p", {}, h("strong", {}, "Do: "), found.advice));
