// Have a model write: requests to the usual endpoints, and their streams as tokens.

import { events } from "./api.js";

/** Yield what a chat model answers to messages, piece by piece: { index, text, tokens, finish, seed } (see `tokensOf`). Where `start` is given, the ids of a prompt,
 * the model continues those instead, of whatever kind it is.
 *
 * settings: { temperature, topP, topK, minP, seed, maxTokens, n }. */
export async function* write({ model, messages = null, start = null, settings, signal }) {
  const body = {
    model, stream: true, return_token_ids: true, n: settings.n ?? 1, seed: settings.seed,
    temperature: settings.temperature, top_p: settings.topP, max_tokens: settings.maxTokens,
    ...(settings.topK ? { top_k: settings.topK } : {}),
    ...(settings.minP ? { min_p: settings.minP } : {}),
  };
  const [path, asked] = start
    ? ["/v1/completions", { ...body, prompt: start, logprobs: 0 }]
    : ["/v1/chat/completions", { ...body, messages, logprobs: true }];
  const readers = Array.from({ length: body.n }, () => new TextDecoder());
  for await (const event of events(path, asked, { signal })) {
    for (const choice of event.choices ?? []) {
      yield {
        index: choice.index, text: choice.delta?.content ?? choice.text ?? "",
        tokens: tokensOf(choice, readers[choice.index]), finish: choice.finish_reason ?? null, seed: choice.seed ?? null,
      };
    }
  }
}

/** Return the tokens of a chunk: [{ id, piece, nats, special }].
 *
 * Half a character has an empty piece; its last token has the whole. A special token, which has no text, has its name. */
function tokensOf(choice, reader) {
  const ids = choice.token_ids ?? [];
  const { content, tokens = [], token_logprobs: logprobs } = choice.logprobs ?? {};
  const told = content ?? tokens.map((token, at) => ({ token, logprob: logprobs[at] }));
  let text = choice.text ?? "";
  return told.map(({ token, bytes = bytesOf(token), logprob }, at) => {
    const rest = { id: ids[at], nats: -logprob };
    const isSpecial = content ? !bytes.length : !token.startsWith("bytes:") && !text.startsWith(token);
    if (isSpecial) return { ...rest, piece: token, special: true };
    const piece = reader.decode(Uint8Array.from(bytes), { stream: true });
    text = text.slice(piece.length);
    return { ...rest, piece };
  });
}

const encoder = new TextEncoder();

/** Return the bytes of a token by its name, which is its text, or as in "bytes:\\xf0\\x9f". */
function bytesOf(name) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(name)) return encoder.encode(name);
  return name.slice(8).split("\\x").map((byte) => parseInt(byte, 16));
}
