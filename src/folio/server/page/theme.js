// Light, dark, or as the system says.

import { recall, remember } from "./keep.js";

const SAID = { auto: "as the system", light: "light", dark: "dark" };
const THEMES = Object.keys(SAID);

/** Make a button go through the themes; the choice is kept in the browser. */
export function startTheme(button) {
  const label = button.querySelector(".hidden");
  let theme = recall("theme", "auto");
  if (!THEMES.includes(theme)) theme = "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.title = label.textContent = `Theme: ${SAID[theme]}`;
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember("theme", theme);
    show();
  });
  show();
}
