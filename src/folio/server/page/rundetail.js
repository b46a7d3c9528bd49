// One run, as it trains or as it was: where it stands, its curves in words and lines, its samples at every step.

import { announce, fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { ago, duration, poll } from "./poll.js";
import { chart, figure, smoothed } from "./chart.js";
import { inWords, present, readOn, stageName, unread } from "./runfiles.js";
import { rlSection } from "./runrl.js";
import { runAddress, statusWord } from "./runlist.js";
import { samplesSection } from "./samples.js";
import { button, problem, slider } from "./ui.js";

const SECONDS = 2;
const IDLE_SECONDS = 15;
const EARLY = 20;
/** Of the loss. That of reinforcement learning has none: its size says nothing. */
const UNITS = { pretrain: "nats per token", sft: "nats per token", reward: "nats per pair", dpo: "nats per pair" };
const LOSSES = ["loss", "val_loss"];
const NO_CURVE = ["step", "tokens", "train_seconds", "rollout", ...LOSSES];

/** Fill the root with a run. */
export function showRun(root, context, id) {
  const { signal } = context;
  const state = { ...unread(id), memory: 0.9 };
  const parts = { head: header(context, state), loss: lossSection(state, signal), other: otherSection(state, signal) };
  parts.samples = samplesSection(context, state);
  parts.rl = rlSection(id, signal);
  const trouble = h("div", {});
  const facts = h("dl", { class: "facts" });
  root.append(
    h("p", { class: "crumbs" }, h("a", { href: "#/runs" }, "All runs")), parts.head.node, trouble, parts.rl.node, parts.loss.node,
    parts.samples.node, parts.other.node, h("section", { class: "stack" }, h("h2", {}, "About this run"), facts));
  let status = null;
  let hasNews = false;

  const again = poll(signal, async () => {
    const { isWhole, isNew } = await readOn(state, signal);
    const { run } = state;
    fill(trouble);
    hasNews ||= isNew || status !== run.status;
    if (!isWhole) return 0.01;
    if (status && status !== run.status) announce(`${id}: ${run.status}`);
    status = run.status;
    parts.head.show(run);
    fill(facts, factsOf(run));
    if (hasNews) {
      hasNews = false;
      parts.loss.show();
      parts.other.show();
      parts.samples.show();
      if (run.is_rl) parts.rl.show();
    }
    return run.status === "running" ? SECONDS : IDLE_SECONDS;
  }, (error) => fill(trouble, problem(error, () => again())));
}

function header(context, state) {
  const big = h("p", { class: "big" });
  const more = h("p", { class: "small quiet" });
  const bar = h("progress", { "aria-label": "Steps" });
  const verdict = h("p", { class: "verdict", hidden: true });
  const acts = h("div", { class: "row" });
  const trouble = h("div", {});
  const node = h("header", { class: "stack" }, h("h1", {}, state.id), h("div", { class: "now" }, big, bar, more), verdict, acts, trouble);
  let shown = "";

  async function stop(name) {
    try {
      await post("/page/api/trainings/stop", { name });
      announce("It stops after this step, with all saved.");
    } catch (error) {
      fill(trouble, problem(error));
    }
  }

  async function offer(run) {
    const seen = JSON.stringify([run.status, run.model_id, run.stage, run.command]);
    if (seen === shown) return;
    shown = seen;
    const models = await context.models(true).catch(() => []);
    const model = models.find((each) => each.id === run.model_id);
    const view = model?.kind === "chat" ? "chat" : "write";
    const words = run.status === "running" ? (view === "chat" ? "Talk to it while it learns" : "Write with it while it learns") : view === "chat" ? "Talk to it" : "Write with it";
    const { trainings } = run.status === "running" ? await get("/page/api/trainings", { signal: context.signal }) : { trainings: [] };
    const mine = trainings.find((each) => each.state === "running" && each.runs.includes(run.id.split("/").pop()));
    fill(acts, model && button(words, () => context.go(view, [], { model: model.id }), { kind: "primary" }),
      mine && button("Stop and save", () => stop(mine.name)));
  }

  return {
    node,
    show(run) {
      const left = run.seconds_left == null ? "" : `, about ${duration(run.seconds_left)} left`;
      const of = run.steps ? ` of ${run.steps.toLocaleString("en")}` : "";
      fill(big, statusWord(run.status), `step ${run.step.toLocaleString("en")}${of}${left}`);
      bar.max = run.steps || 1;
      bar.value = run.step;
      bar.hidden = !run.steps || run.status === "finished";
      fill(more, lately(run));
      const reason = run.verdict?.startsWith("none: ") && run.verdict.slice(6);
      verdict.hidden = !run.verdict;
      verdict.className = reason ? "notice" : "verdict";
      verdict.textContent = reason ? `Not compared with measured runs: ${reason}.` : run.verdict ?? "";
      offer(run).catch((error) => error.name !== "AbortError" && fill(trouble, problem(error)));
    },
  };
}

/** Say when something was last heard of a run, and what that means. */
function lately(run) {
  const since = run.age == null ? "" : `Last step ${ago(run.age)}. `;
  const onward = run.command && [h("code", {}, run.command), " in the terminal goes on with it."];
  if (run.status === "running" && run.is_slow) return `${since}It is still there, and slow: it evaluates or saves, or the machine is busy.`;
  if (run.status === "running") return `${since}${run.step_seconds ? `A step takes ${figure(run.step_seconds)} s.` : "The first steps are being made."}`;
  if (run.status === "killed") return [`${since}Its process is gone, and what came after the last checkpoint with it. `, onward];
  return [run.seconds ? `It trained for ${duration(run.seconds)}. ` : "", run.status !== "finished" && onward];
}

function lossSection(state, signal) {
  const drawing = chart({ title: "Loss", x: "step", height: 300, signal });
  const smoothing = slider("Smoothing", {
    min: 0, max: 0.98, step: 0.02, value: state.memory, format: (value) => (value ? `${Math.round(1 / (1 - value))} steps` : "none"),
    oninput: (value) => ((state.memory = value), show()),
  });
  smoothing.classList.add("smoothing");
  const node = h("section", { class: "stack" }, h("h2", {}, "Learning curve"), drawing.node, smoothing);
  function show() {
    const train = present(state.columns, "loss");
    const held = present(state.columns, "val_loss");
    const { run } = state;
    const steps = run.steps ?? train.x.at(-1) ?? 1;
    const lines = [
      { label: "training, each step", look: "raw", ...train },
      { label: "training, smoothed", look: "line", x: train.x, y: smoothed(train.y, state.memory) },
      ...(held.x.length ? [{ label: "validation", look: "held", ...held }] : []),
    ];
    const late = train.y.length > 2 * EARLY ? train.y.slice(EARLY).reduce((most, loss) => Math.max(most, loss)) : Infinity; // the first steps would press all others flat
    drawing.setUnit(UNITS[run.stage] ?? "");
    drawing.draw({
      lines, range: [0, Math.max(steps, train.x.at(-1) ?? 1)], top: run.is_rl ? undefined : Math.max(late, ...held.y, ...(run.band?.high ?? [])),
      band: run.band && { label: `measured runs of this recipe (${run.band.hardware})`, x: run.band.steps, low: run.band.low, high: run.band.high },
      levels: run.band?.landmarks ?? {}, summary: lossWords(lines[1], held, run),
    });
  }
  return { node, show };
}

function lossWords(train, held, run) {
  if (!train.x.length) return "No step has been recorded yet.";
  const words = [`Training loss went from ${figure(train.y[0])} to ${figure(train.y.at(-1))} in ${train.x.at(-1).toLocaleString("en")} steps.`];
  if (held.x.length) {
    const best = held.y.indexOf(Math.min(...held.y));
    words.push(`Validation loss is ${figure(held.y.at(-1))}, and was lowest at step ${held.x[best].toLocaleString("en")}: ${figure(held.y[best])}.`);
  }
  const others = Object.entries(run.band?.landmarks ?? {}).map(([name, loss]) => `${figure(loss)}, ${name}`);
  if (others.length) words.push(`Dotted, as published: ${others.join("; ")}.`);
  return words.join(" ");
}

function otherSection(state, signal) {
  const select = h("select", { "aria-label": "Curve", onchange: () => draw() });
  const drawing = chart({ title: "", x: "step", signal });
  const details = h("details", { ontoggle: () => draw() }, h("summary", {}, "All other curves"), h("div", { class: "stack" }, h("div", { class: "picker" }, select), drawing.node));
  const node = h("section", {}, details);
  function draw() {
    if (!details.open || !select.value) return;
    const found = present(state.columns, select.value);
    const isSparse = found.x.length < 0.5 * state.columns.step.length;
    const name = inWords(select.value);
    drawing.setTitle(name);
    drawing.draw({ lines: [{ label: name, look: isSparse ? "held" : "line", ...found }], summary: `${name} went from ${figure(found.y[0])} to ${figure(found.y.at(-1))}.` });
  }
  return {
    node,
    show() {
      const names = Object.keys(state.columns).filter((name) => !NO_CURVE.includes(name));
      if (names.join() !== [...select.options].map((option) => option.value).join()) {
        const { value } = select;
        fill(select, names.map((name) => h("option", { value: name, selected: name === value }, inWords(name))));
      }
      node.hidden = !names.length;
      draw();
    },
  };
}

function factsOf(run) {
  const facts = [
    ["Stage", stageName(run.stage)], ["Recipe", run.recipe], ["Text or data", run.data], ["Model", run.model],
    ["Begins with", run.from && (run.from_id ? h("a", { href: runAddress(run.from_id) }, run.from_id) : run.from)],
    ["Machine", run.hardware], ["Best model", (run.kept ?? []).map((each) => each.join(" ")).join(", ")],
    ["Before it began", (run.before ?? []).map((each) => each.join(" ")).join(", ")],
    ["In the terminal", run.command && h("code", {}, run.command)],
  ];
  return facts.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
