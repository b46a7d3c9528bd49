// The shell: which view is open, the theme, and what all views share.
//
// A view is a module that exports
//   title                        its heading and the window's title
//   mount(root, context)         fill `root`; may return a function that is called when the view is left
//   styles                       optional: names of style sheets beside the module
// and is given a context:
//   path, params                 "#/runs/shakespeare?step=3" gives path ["shakespeare"] and URLSearchParams of step=3
//   go(view, path, params)       open another view: go("runs", ["shakespeare"], { step: 3 })
//   signal                       an AbortSignal that is aborted when the view is left: give it to fetch and to listeners
//   models()                     the models that the server offers (of /v1/models), asked for once; models(true) asks again
//   handOver(value), handed()    pass what is too big for an address to the view that `go` opens next

import { announce, fill, h } from "./dom.js";
import { get } from "./api.js";
import { problem } from "./ui.js";
import { startTheme } from "./theme.js";

const VIEWS = {
  chat: () => import("./chat.js"),
  write: () => import("./write.js"),
  inside: () => import("./inside.js"),
  prefer: () => import("./prefer.js"),
  runs: () => import("./runs.js"),
  learn: () => import("./learn.js"),
};
const main = document.getElementById("main");
const sheets = new Map(); // a style sheet's link, and when it was loaded, by its name
let leave = () => {};
let handed = null;
let asked = null;

function models(again = false) {
  if (again || !asked) asked = get("/v1/models").then((list) => list.data);
  asked.catch(() => (asked = null));
  return asked;
}

/** Load a style sheet beside this module once; resolve when it is there. */
function loadSheet(name) {
  if (!sheets.has(name)) {
    const link = h("link", { rel: "stylesheet", href: `/page/${name}` });
    const loaded = new Promise((resolve) => (link.onload = link.onerror = resolve));
    sheets.set(name, { link, loaded: loaded.then(() => link.sheet && (link.sheet.disabled = true)) }); // until its view is there
    document.head.append(link);
  }
  return sheets.get(name).loaded;
}

/** Have these style sheets act and no other view's: two views may use one class name for two things. */
function useSheets(names) {
  for (const [name, { link }] of sheets) if (link.sheet) link.sheet.disabled = !names.includes(name);
}

function go(view, path = [], params = {}) {
  const query = new URLSearchParams(params).toString();
  location.hash = `#/${[view, ...path.map(encodeURIComponent)].join("/")}${query && `?${query}`}`;
}

/** Return the first view: what the models on offer are for. */
async function firstView() {
  const offered = await models().catch(() => []);
  if (!offered.length) return "runs";
  return offered.some((model) => model.kind === "chat") ? "chat" : "write";
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // someone typed a lone %
  }
}

let opened = 0;

async function open() {
  const [place, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...path] = place.split("/").filter(Boolean).map(decoded);
  if (name === "main") return; // the skip link
  if (!(name in VIEWS)) return history.replaceState(null, "", `#/${await firstView()}`), open();
  const number = ++opened;
  leave();
  const leaving = new AbortController();
  leave = () => leaving.abort();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const view = await VIEWS[name]();
    const styles = view.styles ?? [];
    await Promise.all(styles.map(loadSheet));
    if (number !== opened) return; // the reader has gone on
    document.title = `${view.title} · folio`;
    const value = handed;
    handed = null;
    const root = h("div", { class: `view view-${name}` });
    const left = await view.mount(root, {
      path, params: new URLSearchParams(query), go, models, signal: leaving.signal,
      handOver: (given) => (handed = given), handed: () => value,
    });
    if (number !== opened) return left?.();
    leave = () => (leaving.abort(), left?.());
    useSheets(styles);
    fill(main, root);
    if (number > 1) main.focus({ preventScroll: true }), announce(view.title);
    scrollTo(0, 0);
  } catch (error) {
    if (number === opened) fill(main, problem(error));
  }
}

document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
startTheme(document.getElementById("theme"));
addEventListener("hashchange", open);
open();
