// Train on a text: drop a file, see the plan, start, watch, stop.

import { announce, fill, h } from "./dom.js";
import { get, post } from "./api.js";
import { duration } from "./poll.js";
import { stageName } from "./runfiles.js";
import { button, count, field, problem } from "./ui.js";

const MINUTES = 15;
const LARGEST = 20e6;
/** What the command calls the lines of its plan, in the words of this page; those that come first. */
const MAIN = { quality: "What to expect", limit: "Time, in minutes", model: "The model", estimate: "Pretraining needs", "too short": "Too short" };
const MORE = {
  text: "Text", tokens: "Tokens", machine: "This machine", why: "Why these sizes", training: "Steps", time: "Time", listening: "Requests met", shorter: "Shorter",
};

/** What each stage is for. */
const STAGES = {
  pretrain: "learns to write like the text", sft: "learns to do what it is asked", label: "writes answers, which a judge compares",
  reward: "learns which of two answers is better", dpo: "learns from the comparisons", ppo: "practices, for a higher reward", grpo: "practices, for a higher reward",
};

/** Return a panel: { node, update(runs), isBusy() }. onchange: called when something was started or stopped. */
export function startPanel(context, onchange) {
  const node = h("section", { class: "stack", "aria-label": "Train a model" });
  const running = runningCard(onchange);
  const form = startForm(context, () => (running.expect(), onchange()));
  let isAllowed = null;
  return {
    node,
    isBusy: () => running.isBusy(),
    /** Ask how things stand. runs: the list of runs. */
    async update(runs) {
      const told = await get("/page/api/trainings", { signal: context.signal });
      if (told.allowed !== isAllowed) {
        isAllowed = told.allowed;
        fill(node, isAllowed ? [running.node, form.node] : h("p", { class: "notice" }, told.why));
      }
      running.show(told.trainings, runs);
      form.node.hidden = running.isBusy();
    },
  };
}

function runningCard(onchange) {
  const big = h("p", { class: "big" });
  const more = h("p", { class: "small quiet" });
  const log = h("pre", { class: "log", tabindex: "0", "aria-label": "What the command says" });
  const trouble = h("div", {});
  const stop = button("Stop and save", async () => {
    fill(trouble);
    try {
      await post("/page/api/trainings/stop", { name: current.name });
      onchange();
    } catch (error) {
      fill(trouble, problem(error));
    }
  });
  const resume = button("Resume", async () => {
    fill(trouble);
    try {
      await post("/page/api/trainings/start", { text: current.name, ...(current.minutes ? { minutes: current.minutes } : {}) });
      onchange();
    } catch (error) {
      fill(trouble, problem(error));
    }
  }, { kind: "primary" });
  const node = h("div", { class: "card now", hidden: true, tabindex: "-1" }, big, more, h("div", { class: "row" }, stop, resume), trouble,
    h("details", {}, h("summary", {}, "What the command says"), log));
  let current = null;
  let state = null;
  let isAwaited = false;

  function show(trainings, runs) {
    const last = trainings[0];
    node.hidden = !last;
    if (!last) return;
    const isOpen = last.state === "running" || last.state === "stopping";
    if (current && state !== last.state && current.name === last.name) announce(`${last.name}: ${WORDS[last.state]}`);
    current = last;
    state = last.state;
    const made = runs.filter((run) => last.runs.includes(run.id.split("/").pop()));
    const active = made.find((run) => run.status === "running");
    fill(big, `${WORDS[last.state]} `, last.is_text ? last.name : last.name.replace("ladder-", "rung "),
      active && [": ", h("a", { href: `#/runs/${encodeURIComponent(active.id)}` }, `watch the ${stageName(active.stage)}`)]);
    const since = (isOpen ? Date.now() / 1000 : last.ended) - last.started;
    more.textContent = last.problem || (isOpen
      ? `${duration(since)} so far${last.minutes ? ` of ${duration(60 * last.minutes)}` : ""}. It goes on while this page is closed, and stops, saved, when folio serve does.`
      : `${duration(since)} in all. ${last.state === "stopped" ? "All that was learned is saved." : ""}`);
    more.classList.toggle("problem", !!last.problem);
    stop.hidden = !isOpen;
    stop.textContent = last.state === "stopping" ? "Stopping after this step: stop at once" : "Stop and save";
    resume.hidden = !last.is_text || last.state !== "stopped";
    const said = last.log.join("\n");
    if (log.textContent !== said) {
      const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.textContent = said;
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    }
    if (isAwaited && isOpen) isAwaited = false, node.focus();
  }
  /** Take the focus when the training that was just started is shown. */
  const expect = () => (isAwaited = true);
  return { node, show, expect, isBusy: () => state === "running" || state === "stopping" };
}

const WORDS = { running: "Training", stopping: "Stopping", finished: "Finished:", stopped: "Stopped:", failed: "Failed:" };

function startForm(context, onchange) {
  const input = h("input", { type: "file", accept: ".txt,.md,text/plain,text/markdown", onchange: () => input.files[0] && take(input.files[0]) });
  const drop = h("label", { class: "drop" },
    input, h("span", { class: "title" }, "Train a model on your own text"),
    h("span", { class: "choose" }, "Choose a text file"), h("span", { class: "quiet" }, "or drop one here. 100,000 characters (some 60 pages) are enough to begin with."));
  const minutes = h("input", { type: "number", min: "0.1", max: "10000", step: "any", value: String(MINUTES), onchange: () => plan() });
  const told = h("div", { "aria-live": "polite" });
  const start = button("Start", begin, { kind: "primary", disabled: true });
  const limits = h("div", { class: "stack tight" }, h("div", { class: "minutes" }, field("Minutes in all", minutes),
    h("div", { class: "row" }, [5, 15, 60].map((each) => button(`${each} min`, () => ((minutes.value = each), plan()))),
      button("No limit", () => ((minutes.value = ""), plan())))));
  const chosen = h("div", { class: "card stack", hidden: true });
  const node = h("div", { class: "stack" }, drop, chosen);
  let text = null;
  let asking = new AbortController();

  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.add("over")));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  // A file that is dropped beside the place must not take the page away.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault(), { signal: context.signal });

  async function take(file) {
    input.value = "";
    chosen.hidden = false;
    start.disabled = true;
    fill(chosen, h("p", { class: "quiet" }, `Reading ${file.name}…`));
    try {
      text = await post("/page/api/texts", { name: file.name, text: await read(file) }, { signal: context.signal });
    } catch (error) {
      if (error.name !== "AbortError") fill(chosen, problem(error));
      return;
    }
    fill(chosen, h("h2", {}, text.name), h("p", { class: "quiet" }, `${count(text.characters)} characters, ${text.distinct} distinct.`),
      limits, told, h("div", { class: "row" }, start, button("Another text", () => input.click(), { kind: "link" })));
    plan();
  }

  const limit = () => (minutes.value.trim() ? { minutes: Number(minutes.value) } : {});

  async function plan() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    start.disabled = true;
    if (!minutes.reportValidity()) return void fill(told);
    fill(told, h("p", { class: "quiet", "aria-busy": "true" }, "Measuring this machine and choosing sizes: some seconds…"));
    try {
      const found = await post("/page/api/plan", { text: text.name, ...limit() }, { signal });
      start.disabled = false;
      fill(told, planOf(found));
    } catch (error) {
      if (error.name !== "AbortError") fill(told, problem(error, plan));
    }
  }

  async function begin() {
    start.disabled = true;
    try {
      await post("/page/api/trainings/start", { text: text.name, ...limit() });
      announce(`Training of ${text.name} has begun.`);
      chosen.hidden = true;
      onchange();
    } catch (error) {
      fill(told, problem(error));
      start.disabled = false;
    }
  }
  context.signal.addEventListener("abort", () => asking.abort());
  return { node };
}

/** Return the text of a file. Throws an error in words for what is no UTF-8. */
async function read(file) {
  if (file.size > LARGEST) throw new Error(`${file.name} has ${count(file.size)} bytes: for more than ${count(LARGEST)} use folio run in the terminal.`);
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replaceAll("\r\n", "\n");
  } catch {
    throw new Error(`${file.name} is not plain text in UTF-8. In your editor, choose Save as, plain text (.txt), UTF-8.`);
  }
}

function planOf({ stages, told }) {
  const left = stages.filter((stage) => !stage.is_made);
  const lines = (names) => Object.entries(names).filter(([key]) => told[key]).map(([key, name]) => h("div", {}, h("dt", {}, name), h("dd", {}, told[key])));
  return h("div", { class: "stack" },
    !left.length && h("p", {}, "This text is trained already."),
    h("dl", { class: "plan" }, lines(MAIN)),
    h("ol", { class: "stages small quiet" }, left.map(({ name }) => h("li", {}, `${stageName(name)}: ${STAGES[name] ?? ""}`))),
    h("details", {}, h("summary", {}, "More of the plan"), h("dl", { class: "plan" }, lines(MORE))));
}
