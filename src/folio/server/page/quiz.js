// The questions of a page, each judged at once, with the reason for each choice. What was missed is asked again at the foot.

import { announce, fill, h, newId } from "./dom.js";
import { get, post } from "./api.js";
import { button, problem, sentence } from "./ui.js";

const LETTERS = "abcde";

/** Return a section with the questions of a lesson. */
export function quizSection(lesson, context) {
  const open = h("ol", { class: "questions", role: "list" });
  const again = h("ol", { class: "questions", role: "list" });
  const foot = h("section", { class: "stack", hidden: true, "aria-labelledby": "again" }, h("h2", { id: "again" }, "Once more"), again);
  const score = h("p", { class: "small quiet", "aria-live": "polite" });
  const state = { run: lesson.run, right: 0, answered: 0 };
  const own = lesson.questions.some((question) => question.is_own);
  const runs = own && lesson.runs.length > 1 && h("label", { class: "row small picker" }, "Questions about your own run ask of ",
    h("select", { onchange: (event) => change(event.target.value) }, lesson.runs.map((id) => h("option", { value: id, selected: id === lesson.run }, id))));
  const known = h("div", {});
  const node = h("section", { class: "quiz stack", "aria-labelledby": "asked-title" }, h("h2", { id: "asked-title" }, "Questions for you"), runs, open, known, foot, score);

  async function fresh() {
    const query = state.run ? `?${new URLSearchParams({ run: state.run })}` : "";
    return (await get(`/page/api/lessons/${encodeURIComponent(lesson.name)}${query}`, { signal: context.signal })).questions;
  }

  function ask(question) {
    const card = questionCard(question, lesson.name, () => state.run, async (verdict) => {
      state.answered += 1;
      state.right += verdict.is_right;
      score.textContent = `${state.right} of ${state.answered} right on this visit.`;
      if (verdict.is_right) return;
      const next = (await fresh()).find((each) => each.id === question.id); // its choices have another order now
      foot.hidden = false;
      again.append(ask(next));
    });
    return h("li", {}, card);
  }

  function show(questions) {
    const right = questions.filter((question) => question.is_right);
    fill(open, questions.filter((question) => !question.is_right).map(ask));
    fill(known, right.length > 0 && h("details", {}, h("summary", {}, `${right.length} that you have answered already`), h("ol", { class: "questions", role: "list" }, right.map(ask))));
  }

  async function change(run) {
    state.run = run;
    show(await fresh());
  }
  show(lesson.questions);
  return node;
}

/** Return a question that can be answered once. onverdict(verdict) is called then. */
function questionCard(question, page, run, onverdict) {
  const id = newId("question");
  const verdict = h("div", { class: "told", "aria-live": "polite" });
  const trouble = h("div", {});
  const words = h("legend", { id }, coded(question.question));
  if (question.closed) {
    return h("div", { class: "card question" }, h("p", { class: "asks" }, coded(question.question)),
      h("p", { class: "notice" }, `${sentence(question.closed)} `, h("a", { href: "#/runs" }, "Train one.")));
  }
  const form = question.options.length ? choices() : number();
  const given = question.given && h("p", { class: "given", id: `${id}-given` }, question.given);
  const missed = question.is_missed && h("p", { class: "small quiet", id: `${id}-missed` }, "You missed this one before.");
  const node = h("fieldset", { class: "card question", "aria-describedby": [given, missed].filter(Boolean).map((each) => each.id).join(" ") || null }, words,
    given || null, missed, form.node, trouble, verdict);

  async function answer(typed) {
    fill(trouble);
    form.lock(true);
    try {
      const told = await post("/page/api/quiz", { page, question: question.id, typed, tries: question.tries, ...(run() ? { run: run() } : {}) });
      form.show(told, typed);
      fill(verdict, h("p", { class: told.is_right ? "right" : "wrong" }, h("b", {}, told.is_right ? "Right. " : "Wrong. "), coded(form.words(told))), told.problem && h("p", { class: "notice" }, told.problem));
      await onverdict(told);
    } catch (error) {
      form.lock(false);
      fill(trouble, problem(error));
    }
  }

  function choices() {
    const buttons = question.options.map((option, at) => {
      const reason = h("span", { class: "reason small", hidden: true });
      const node = h("button", { type: "button", class: "option", onclick: () => !node.ariaDisabled && answer(LETTERS[at]) },
        h("kbd", { "aria-hidden": "true" }, LETTERS[at]), h("span", {}, h("span", {}, coded(option)), reason));
      return { node, reason };
    });
    const list = h("div", { class: "options", onkeydown: (event) => {
      const at = LETTERS.indexOf(event.key.toLowerCase());
      const place = at >= 0 ? at : "12345".indexOf(event.key);
      if (place >= 0 && place < buttons.length && event.key.length === 1) buttons[place].node.focus(), buttons[place].node.click();
    } }, buttons.map((each) => each.node));
    return {
      node: list,
      lock: (isLocked) => buttons.forEach(({ node }) => (node.ariaDisabled = isLocked ? "true" : null)),
      show({ right, reasons }, typed) {
        buttons.forEach(({ node, reason }, at) => {
          const isChosen = LETTERS[at] === typed;
          node.classList.toggle("is-right", at === right);
          node.classList.toggle("is-wrong", isChosen && at !== right);
          reason.hidden = false;
          fill(reason, at === right ? "✓ " : "✗ ", coded(reasons[at]));
          node.setAttribute("aria-label", `${question.options[at]}. ${isChosen ? "Your choice. " : ""}${at === right ? "Right" : "Wrong"}: ${reasons[at]}`);
        });
      },
      words: ({ is_right: isRight, right }) => (isRight ? "" : `The answer is ${LETTERS[right]}.`),
    };
  }

  function number() {
    const input = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", "aria-labelledby": id });
    const send = button("Answer", null, { kind: "primary", type: "submit" });
    const form = h("form", { class: "row number", onsubmit: (event) => (event.preventDefault(), input.value.trim() && !input.readOnly && answer(input.value)) }, input, send);
    return {
      node: form,
      lock: (isLocked) => ((input.readOnly = isLocked), (send.hidden = isLocked)),
      show: () => {},
      words: ({ words: said }) => said.replace(/^(Right|No): /, ""),
    };
  }
  return node;
}

/** Return a sentence with what stands between backticks as code. */
const coded = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));
