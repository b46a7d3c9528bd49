// Small things that the browser keeps between visits.

/** Return what was kept under a name, or a fallback. */
export function recall(name, fallback = null) {
  try {
    return JSON.parse(localStorage.getItem(`folio.${name}`)) ?? fallback;
  } catch {
    return fallback; // storage is off, or something else wrote there
  }
}

/** Keep a value under a name; where the browser keeps nothing, it is forgotten when the page closes. */
export function remember(name, value) {
  try {
    localStorage.setItem(`folio.${name}`, JSON.stringify(value));
  } catch {
    /* full, or off */
  }
}
