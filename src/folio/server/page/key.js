// The server's key, asked for once; the server answers with a cookie that scripts cannot read.

import { h, newId } from "./dom.js";

let asking = null;

/** Ask for the key in a dialog. Return whether the server took one. */
export function askKey() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

function ask() {
  const id = newId("key");
  const input = h("input", { id, type: "password", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const dialog = h(
    "dialog",
    { class: "card", "aria-labelledby": `${id}-title` },
    h("form", { class: "stack", onsubmit: (event) => send(event) },
      h("h2", { id: `${id}-title` }, "This server asks for its key"),
      h("p", { class: "quiet" }, "Whoever started folio serve has it."),
      h("input", { type: "text", autocomplete: "username", value: "folio", hidden: true }), // so that password managers can keep it
      h("label", { for: id }, "Key"), input, problem,
      h("div", { class: "row" },
        h("button", { class: "primary" }, "Enter"),
        h("button", { type: "button", onclick: () => dialog.close() }, "Not now"))),
  );
  async function send(event) {
    event.preventDefault();
    const response = await fetch("/page/api/key", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key: input.value }),
    });
    if (response.ok) return dialog.close("taken");
    problem.textContent = "The server does not know that key.";
    input.select();
  }
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "taken");
    }),
  );
}
