// Speak with the server: JSON, and event streams by fetch (an EventSource can post nothing).

import { askKey } from "./key.js";

/** What the server refused, in its own words. status: 0 where there was no answer at all. */
export class ApiError extends Error {
  constructor(status, { message, param = null, code = null }, retryAfter = null) {
    super(message);
    Object.assign(this, { status, param, code, retryAfter });
  }
}

/** Return the JSON at a path. options: { signal }. Throws ApiError. */
export const get = async (path, options = {}) => (await request(path, undefined, options)).json();

/** Post JSON to a path, and return the JSON of the answer. Throws ApiError. */
export const post = async (path, body, options = {}) => (await request(path, body, options)).json();

/** Post JSON, and yield the data of each event of the answer until [DONE]. Throws ApiError, also for an error in the stream. */
export async function* events(path, body, options = {}) {
  const response = await request(path, body, options);
  for await (const data of eventData(response.body)) {
    if (data === "[DONE]") continue; // the last of them: the stream ends by itself
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(response.status, event.error);
    yield event;
  }
}

async function request(path, body, options) {
  const sent =
    body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...sent, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The server does not answer. Is folio serve still running?" });
  }
  if (response.ok) return response;
  if (response.status === 401 && (await askKey())) return request(path, body, options);
  throw await refusal(response);
}

async function refusal(response) {
  const told = await response.json().catch(() => null);
  const error = told?.error ?? { message: `The server answered ${response.status} ${response.statusText}.` };
  return new ApiError(response.status, error, response.headers.get("Retry-After"));
}

function broken(error) {
  if (error.name === "AbortError") throw error;
  throw new ApiError(0, { message: "The connection broke off before the answer was whole." });
}

async function* eventData(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      const parts = (held + value).split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // where the reader leaves early, the server hears of it
  }
}
