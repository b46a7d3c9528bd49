// How a model samples, kept in the browser for all views.

import { h } from "./dom.js";
import { recall, remember } from "./keep.js";
import { field } from "./ui.js";

const DEFAULTS = { temperature: 0.8, topK: 0, topP: 1, seed: 1, maxTokens: 200, n: 1 };

/** Return the settings as they were left. */
export const recallSettings = () => ({ ...DEFAULTS, ...recall("settings", {}) });

/** Change settings in place, and keep them. */
export function changeSettings(settings, changes) {
  remember("settings", Object.assign(settings, changes));
}

/** Return the fields of what is not a slider: seed, max tokens, answers at once. several: the label of the last (null: none). onchange: called after each change. */
export function settingsFields(settings, { several = "Answers side by side", onchange = () => {} } = {}) {
  const number = (label, key, min, max, hint) => {
    const input = h("input", {
      type: "number", min, max, step: 1, value: settings[key], inputmode: "numeric",
      onchange: () => {
        const value = Math.round(Number(input.value));
        input.value = Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : settings[key];
        changeSettings(settings, { [key]: Number(input.value) });
        onchange();
      },
    });
    return field(label, input, hint);
  };
  return h(
    "div", { class: "settings" },
    number("Max tokens", "maxTokens", 1, 4096),
    number("Seed", "seed", 0, Number.MAX_SAFE_INTEGER, "The same seed and text give the same answer."),
    several && number(several, "n", 1, 4),
  );
}
