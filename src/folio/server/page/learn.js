// Learn: the pages of the lecture, with figures that run on the reader's own models, and questions.

import { fill, h } from "./dom.js";
import { get } from "./api.js";
import { modelFigure } from "./figures.js";
import { quizSection } from "./quiz.js";
import { rungFigure } from "./rung.js";

export const title = "Learn";
export const styles = ["look.css", "inside.css", "learn.css"];

const LAST_OF_LADDER = "16-to-chatgpt";

/** Fill the root: "#/learn" lists the pages, "#/learn/NAME" is one of them. */
export async function mount(root, context) {
  if (context.path.length) await showPage(root, context, context.path[0]);
  else await showPages(root, context);
}

async function showPages(root, { signal }) {
  const { lessons, contents } = await get("/page/api/lessons", { signal });
  const first = lessons.find((lesson) => lesson.questions && lesson.right < lesson.questions) ?? lessons[0];
  const begun = lessons.some((lesson) => lesson.right || lesson.missed);
  const at = lessons.findIndex((lesson) => lesson.name === LAST_OF_LADDER) + 1;
  const list = (part) => h("ol", { class: "lessons", role: "list" }, part.map(line));
  fill(root,
    h("header", { class: "stack" }, h("h1", {}, "From a table to ChatGPT"),
      h("p", {}, "A short course, one part of a language model a page, with figures that run on your own models and questions about your own runs."),
      h("div", { class: "row" }, h("a", { class: "begin", href: address(first.name) }, `${begun ? "Go on" : "Begin"}: ${first.title}`))),
    h("section", { class: "stack" }, h("h2", {}, "The ladder"), list(lessons.slice(0, at))),
    h("section", { class: "stack" }, h("h2", {}, "After the ladder"), list(lessons.slice(at))),
    h("details", { class: "about" }, h("summary", {}, "About the course, and what each part contributes"), h("article", { class: "lesson" }, parsed(contents))));
}

const address = (name) => `#/learn/${encodeURIComponent(name)}`;

function line({ name, title: words, questions, right, missed }) {
  const told = !questions ? "" : right || missed ? `${right} of ${questions} right${missed ? `, ${missed} missed` : ""}` : `${questions} questions`;
  const done = questions > 0 && right === questions;
  return h("li", { class: done ? "done" : "" }, h("a", { href: address(name) }, words), h("span", { class: "small quiet" }, done ? "all right ✓" : told));
}

async function showPage(root, context, name) {
  const { signal } = context;
  const lesson = await get(`/page/api/lessons/${encodeURIComponent(name)}`, { signal });
  const models = await context.models().catch(() => []);
  const article = h("article", { class: "lesson" }, parsed(lesson.html));
  const [heading, links] = article.children;
  if (links?.matches("p") && [...links.children].every((child) => child.matches("a"))) links.remove(); // the way on is at the foot
  for (const place of article.querySelectorAll("[data-figure]")) {
    const kind = place.dataset.figure;
    place.append(kind === "rung" ? rungFigure(lesson.rung, context) : modelFigure(kind, models, signal));
  }
  const quiz = lesson.questions.length ? quizSection(lesson, context) : null;
  fill(root, h("p", { class: "crumbs" }, h("a", { href: "#/learn" }, "All pages")), article, quiz,
    h("nav", { class: "row between onward", "aria-label": "The page before and the next one" },
      lesson.before ? h("a", { href: address(lesson.before) }, "← The page before") : h("span"),
      lesson.after && h("a", { href: address(lesson.after) }, "The next page →")));
  heading.tabIndex = -1;
}

/** Return the nodes of our own HTML, which the server made of the lecture's pages. Nothing else is ever given to this. */
function parsed(html) {
  return [...new DOMParser().parseFromString(html, "text/html").body.childNodes];
}
