import { h } from "./dom.js";

export const title = "Inside";

/** Fill the root. */
export function mount(root, context) {
  root.append(h("h1", {}, title));
}
