// A conversation as a tree: editing and retrying add branches, and nothing is lost.

const ROOT = "root";
let made = 0;

const newKey = () => `${Date.now().toString(36)}-${(made += 1).toString(36)}-${Math.random().toString(36).slice(2, 6)}`;

/** Return an empty conversation. */
export function newConversation(system = "") {
  return { id: newKey(), updated: Date.now(), system, nodes: { [ROOT]: { id: ROOT, children: [], chosen: null } } };
}

/** Add a turn below another (null: the first one), and choose it. fields: role, content, and what else is known. */
export function addTurn(conversation, parent, fields) {
  const node = { id: newKey(), parent: parent?.id ?? ROOT, children: [], chosen: null, ...fields };
  conversation.nodes[node.id] = node;
  const above = conversation.nodes[node.parent];
  above.children.push(node.id);
  above.chosen = node.id;
  return node;
}

/** Remove a turn that has nothing below it. */
export function removeTurn(conversation, node) {
  const above = conversation.nodes[node.parent];
  above.children = above.children.filter((id) => id !== node.id);
  if (above.chosen === node.id) above.chosen = above.children.at(-1) ?? null;
  delete conversation.nodes[node.id];
}

/** Return the turns that are shown: from the first, along the chosen branches. */
export function shownTurns(conversation) {
  const turns = [];
  for (let node = conversation.nodes[ROOT]; node.chosen; turns.push(node)) node = conversation.nodes[node.chosen];
  return turns;
}

/** Return all turns at a turn's place, itself among them. */
export const versionsOf = (conversation, node) => conversation.nodes[node.parent].children.map((id) => conversation.nodes[id]);

/** Choose a turn among those at its place. */
export function chooseTurn(conversation, node) {
  conversation.nodes[node.parent].chosen = node.id;
}

/** Return the turn before another, or null. */
export const turnBefore = (conversation, node) => (node.parent === ROOT ? null : conversation.nodes[node.parent]);

/** Return the messages up to a turn, the system message first. */
export function messagesTo(conversation, node) {
  const messages = [];
  for (let each = node; each; each = turnBefore(conversation, each)) messages.unshift({ role: each.role, content: each.content });
  return conversation.system ? [{ role: "system", content: conversation.system }, ...messages] : messages;
}

/** Return the shown branch as a line of JSON that `folio sft` reads, or "" where there is no answer yet. */
export function asLine(conversation) {
  const turns = shownTurns(conversation).filter((turn) => turn.content);
  while (turns.length && turns.at(-1).role !== "assistant") turns.pop();
  return turns.length ? `${JSON.stringify({ messages: messagesTo(conversation, turns.at(-1)) })}\n` : "";
}

/** Return what a list calls a conversation. */
export const titleOf = (conversation) => shownTurns(conversation)[0]?.content.replace(/\s+/g, " ").slice(0, 60) || "New conversation";
