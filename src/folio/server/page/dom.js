// Build nodes. What models and people write becomes text nodes only: nothing on this page is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "line", "circle", "text", "polyline", "polygon", "title", "defs"]);

/** Return an element. h("p", { class: "quiet", onclick: f }, "text", node, [more, nodes]); null and false are left out.
 *
 * on…: a listener. style: an object of CSS properties. dataset: an object. value, checked, and so on: properties.
 * All else: attributes, of which true is an empty one, and null or false none. */
export function h(tag, properties, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) set(node, name, value);
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "indeterminate", "htmlFor", "textContent"]);

/** Set one property of an element, as `h` does. */
export function set(node, name, value) {
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
  else if (name === "dataset") Object.assign(node.dataset, value);
  else if (PROPERTIES.has(name)) node[name] = value;
  else if (value == null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

/** Replace what an element holds. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

let ids = 0;

/** Return an id that no other element has. */
export const newId = (name = "n") => `${name}-${++ids}`;

/** Have a screen reader say a sentence. */
export function announce(sentence) {
  const says = document.getElementById("says");
  says.textContent = "";
  setTimeout(() => (says.textContent = sentence), 60); // an equal sentence twice is said twice
}
