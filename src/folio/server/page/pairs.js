// Two answers to a prompt, neither of which is shown before both are there: length and speed would tell.

import { post } from "./api.js";

const TOKENS = 120;
const TEMPERATURE = 1;
const TRIES = 4;
const SEEDS = 2 ** 31 - 1;

/** Return { left, right }: answers of two models, or of one with two seeds, on sides of chance.
 *
 * Where they are equal, or one is cut off or empty, others are drawn a few times: such a pair teaches nothing. */
export async function answerPair({ model, other, prompt, signal }) {
  let pair = null;
  for (let tried = 0; tried < TRIES && !(pair && isTaught(pair)); tried += 1) {
    const answers = await Promise.all([model, other].map((each) => answer(each, prompt, signal)));
    const [left, right] = Math.random() < 0.5 ? answers : answers.reverse();
    pair = { left, right };
  }
  return pair;
}

/** Return whether a reward model can learn from a pair. */
export const isTaught = ({ left, right }) => left.is_complete && right.is_complete && left.text !== right.text && !!left.text && !!right.text;

async function answer(model, prompt, signal) {
  const seed = Math.floor(Math.random() * SEEDS);
  const body = { model, messages: [{ role: "user", content: prompt }], seed, temperature: TEMPERATURE, max_tokens: TOKENS };
  const { choices } = await post("/v1/chat/completions", body, { signal });
  return { text: choices[0].message.content ?? "", model, seed, temperature: TEMPERATURE, is_complete: choices[0].finish_reason === "stop" };
}
