// What the model really saw: its prompt as tokens, and where its window ends.

import { h, newId } from "./dom.js";
import { post } from "./api.js";
import { surpriseLegend, tokenStrip } from "./tokens.js";
import { button, problem } from "./ui.js";

/** Open a dialog on an answer. node: the answer, with `prompt`, its ids. oninside(ids, position): look further inside. */
export async function showSeen({ node, blockSize, oninside }) {
  const id = newId("saw");
  const ids = [...node.prompt, ...node.tokens.map((token) => token.id)];
  const strip = tokenStrip({ label: "What the model saw", look: true, onchoose: (at) => (dialog.close(), oninside(ids, at)) });
  const status = h("p", { class: "quiet" }, "Reading…");
  const free = blockSize - ids.length;
  const dialog = h(
    "dialog", { class: "card wide", "aria-labelledby": id },
    h("div", { class: "stack" },
      h("div", { class: "row between" }, h("h2", { id }, "What the model saw"), button("Close", () => dialog.close())),
      h("p", {}, `Its context holds ${blockSize} tokens: ${node.prompt.length} for the prompt, ${node.tokens.length} for the answer, ${Math.max(0, free)} free.`,
        node.dropped ? h("b", {}, ` The oldest ${node.dropped} messages had no room and were not seen.`) : ""),
      h("div", { class: "window-bar", role: "img", "aria-label": `${node.prompt.length} of ${blockSize} tokens are prompt, ${node.tokens.length} answer` },
        part("prompt", node.prompt.length / blockSize), part("answer", node.tokens.length / blockSize)),
      h("div", { class: "seen-text" }, strip.node), status, surpriseLegend()),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const { surprise } = await post("/page/api/inspect", { model: node.model, ids: ids.slice(0, blockSize), parts: ["surprise"] });
    surprise.ids.forEach((each, at) => strip.add({ id: each, piece: surprise.pieces[at], nats: surprise.nats[at], special: surprise.special[at] }));
    status.textContent = "Framed words are special tokens, which only the chat template can write. Click any token to look inside.";
  } catch (error) {
    status.replaceWith(problem(error));
  }
}

function part(name, share) {
  const node = h("span", { class: name });
  node.style.width = `${100 * share}%`;
  return node;
}
