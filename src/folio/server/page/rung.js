// Predict, then run: what will this rung of the ladder reach? Only then is it trained, here.

import { announce, fill, h, newId } from "./dom.js";
import { get, post } from "./api.js";
import { recall, remember } from "./keep.js";
import { poll } from "./poll.js";
import { button, field, problem } from "./ui.js";

const SECONDS = 2;

/** Return a figure for a rung, by its name in the ladder. */
export function rungFigure(rung, { signal }) {
  const id = newId("rung");
  const words = rung.replaceAll("_", " ");
  const body = h("div", { class: "stack" });
  const trouble = h("div", {});
  const node = h("figure", { class: "card own-figure stack", "aria-labelledby": id }, h("figcaption", { id }, `Predict, then train: ${words}`), body, trouble);
  let predicted = recall(`rung.${rung}`);
  let told = null;

  const again = poll(signal, async () => {
    const found = await get(`/page/api/ladder/${rung}`, { signal });
    const isNew = JSON.stringify(found) !== JSON.stringify(told);
    if (told && found.results.length > told.results.length) announce(`${words} is trained: validation loss ${found.results.at(-1).val_loss}.`);
    told = found;
    if (isNew) draw();
    return isRunning() ? SECONDS : 0;
  }, (error) => fill(trouble, problem(error)));

  const isRunning = () => ["running", "stopping"].includes(told?.process?.state);

  async function act(path, given) {
    fill(trouble);
    try {
      await post(path, given);
      again();
    } catch (error) {
      fill(trouble, problem(error));
    }
  }

  function draw() {
    if (predicted == null) return void fill(body, form());
    const last = told.results.at(-1);
    const { process } = told;
    const failed = process?.state === "failed" && h("p", { class: "problem" }, process.problem || "It ended without saying why. Its log is in the folder of the runs.");
    const train = told.allowed
      ? !isRunning() && button(last ? "Train it again" : "Train it now", () => act("/page/api/ladder", { rung }), { kind: last ? "plain" : "primary" })
      : h("p", { class: "notice" }, told.why);
    fill(body,
      h("p", {}, "You expect a validation loss of ", h("b", {}, predicted), ". ",
        button("Change it", () => ((predicted = null), remember(`rung.${rung}`, null), draw()), { kind: "link" })),
      last && !isRunning() && result(last),
      isRunning() && h("p", { "aria-busy": "true" }, "Training… ", h("span", { class: "small quiet" }, process.log.at(-1) ?? "")),
      isRunning() && h("div", { class: "row" }, button("Stop", () => act("/page/api/trainings/stop", { name: process.name }))), failed, h("div", { class: "row" }, train));
  }

  function form() {
    const input = h("input", { type: "number", min: "0", max: "10", step: "any", required: true });
    return h("form", { class: "own", onsubmit: (event) => {
      event.preventDefault();
      predicted = Number(input.value);
      remember(`rung.${rung}`, predicted);
      draw();
    } }, field(`Which validation loss will ${words} reach on your machine?`, input, "In nats per character. Guessing evenly among 65 characters costs 4.17. Further down is what we measured."),
    h("button", { class: "primary" }, "Predict"));
  }

  function result({ val_loss: loss, seconds, text, run }) {
    const off = Math.abs(loss - predicted);
    const verdict = off < 0.02 ? "You knew it." : off < 0.1 ? "Close." : predicted > loss ? "It is better than you thought." : "It is worse than you thought.";
    return h("div", { class: "stack tight" },
      h("p", { class: "measured" }, h("b", {}, loss.toFixed(3)), ` after ${seconds.toFixed(0)} seconds. You were ${off.toFixed(2)} off. ${verdict}`),
      h("p", { class: "serif answer-text" }, text), h("p", { class: "small quiet" }, `Two lines that it wrote. All of it is in ${run}.`));
  }
  return node;
}
