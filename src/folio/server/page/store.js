// Conversations, kept in the browser's database and nowhere else.

import { h } from "./dom.js";

const NAME = "folio";
const STORE = "conversations";
let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opening;
}

async function act(mode, does) {
  const store = (await open()).transaction(STORE, mode).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const asked = does(store);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

/** Return all conversations, the newest first; none where the browser keeps nothing. */
export async function allConversations() {
  const all = await act("readonly", (store) => store.getAll()).catch(() => []);
  return all.sort((a, b) => b.updated - a.updated);
}

/** Keep a conversation. */
export function keepConversation(conversation) {
  conversation.updated = Date.now();
  return act("readwrite", (store) => store.put(conversation)).catch(() => {});
}

/** Forget a conversation. */
export const forgetConversation = (id) => act("readwrite", (store) => store.delete(id)).catch(() => {});

/** Have the browser save a text as a file. */
export function download(name, text, type = "application/jsonl") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
