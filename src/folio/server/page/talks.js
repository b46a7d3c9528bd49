// The list of conversations.

import { fill, h } from "./dom.js";
import { allConversations, download, forgetConversation } from "./store.js";
import { asLine, titleOf } from "./tree.js";
import { button } from "./ui.js";

/** Return the list: { node, refresh(current), toggle }. onopen(conversation or null, for a new one). */
export function talkList({ onopen }) {
  const list = h("ul", { class: "talk-list" });
  const node = h(
    "aside", { class: "talks", "aria-label": "Conversations" },
    h("div", { class: "row between" }, button("New conversation", () => (toggle(false), onopen(null))), button("Close", () => toggle(false), { kind: "link", class: "link close" })),
    list,
    h("div", { class: "small quiet" }, h("p", {}, "Kept in this browser only."),
      button("Save all as JSONL", async () => download("conversations.jsonl", (await allConversations()).map(asLine).join("")), { kind: "link", title: "As folio sft reads them" })),
  );
  const toggle = (open = !node.classList.contains("open")) => node.classList.toggle("open", open);
  node.addEventListener("keydown", (event) => event.key === "Escape" && toggle(false));
  return {
    node,
    toggle,
    /** List what is kept; the current one is marked. */
    async refresh(current) {
      const all = await allConversations();
      fill(list, all.map((talk) =>
        h("li", {}, button(titleOf(talk), () => (toggle(false), onopen(talk)), { kind: "talk", "aria-current": talk.id === current ? "true" : null }),
          button("×", async () => (await forgetConversation(talk.id), talk.id === current ? onopen(null) : this.refresh(current)),
            { kind: "link", "aria-label": `Delete ${titleOf(talk)}` }))));
    },
  };
}
