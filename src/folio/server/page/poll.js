// Ask again and again, but only while someone looks.

/** Call `ask` now and after each number of seconds that it returns, until it returns nothing or the signal is aborted.
 *
 * It is not called while the tab is hidden, and at once when it is shown again. What it throws ends the asking, but for an abort. */
export function poll(signal, ask, onerror = () => {}) {
  let timer = 0;
  let isAsking = false;
  let isOver = false;
  async function next() {
    clearTimeout(timer);
    if (signal.aborted || isAsking || isOver || document.hidden) return;
    isAsking = true;
    try {
      const seconds = await ask();
      isOver = !seconds;
      if (seconds) timer = setTimeout(next, 1000 * seconds);
    } catch (error) {
      if (error.name === "AbortError") return;
      onerror(error);
      timer = setTimeout(next, 5000);
    } finally {
      isAsking = false;
    }
  }
  document.addEventListener("visibilitychange", next, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  next();
  /** Ask now, also where the asking was over. */
  return () => ((isOver = false), next());
}

/** Format seconds as 42 s, 12 min 5 s or 1 h 2 min. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min${s ? ` ${s} s` : ""}` : `${s} s`;
}

/** Say how long ago something was. */
export function ago(seconds) {
  if (seconds < 1.5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}
