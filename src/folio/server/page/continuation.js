// What was on the sheet before: undo, redo, and the versions of the last continuation.

/** Return a history of lists of tokens. restore(tokens): put them back on the sheet. */
export function continuation({ restore }) {
  let past = [];
  let future = [];
  let now = [];
  let last = null;
  const move = (from, to) => {
    if (!from.length) return;
    to.push(now);
    restore((now = from.pop()));
  };
  return {
    /** Note what stands there now, if it has changed. */
    settle(tokens) {
      if (tokens.length === now.length && tokens.every((token, at) => token === now[at])) return;
      past.push(now);
      future = [];
      now = tokens;
    },
    /** Note a continuation of a text: another version, where it goes on from the same one. */
    wrote(before, tokens) {
      if (last?.before !== before) last = { before, versions: [], version: 0 };
      last.version = last.versions.push(tokens) - 1;
      this.settle(tokens);
      last.versions[last.version] = now;
    },
    undo: () => move(past, future),
    redo: () => move(future, past),
    /** Show the version before, or after. */
    turn(by) {
      last.version = (last.version + by + last.versions.length) % last.versions.length;
      past.push(now);
      restore((now = last.versions[last.version]));
    },
    clear() {
      [past, future, now, last] = [[], [], [], null];
    },
    get canUndo() {
      return past.length > 0;
    },
    get canRedo() {
      return future.length > 0;
    },
    /** The continuation that stands there now: { before, versions, version }, or null where something else does. */
    get last() {
      return last && last.versions[last.version] === now ? last : null;
    },
  };
}
