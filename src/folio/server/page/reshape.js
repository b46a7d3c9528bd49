// What sampling settings make of a distribution: the same arithmetic as folio.inference.sampling, in the browser.

const GREEDY = 1e-9;

/** Return the probability of each token after temperature, top-k, top-p and min-p, exactly as the sampler draws.
 *
 * logprobs: of the tokens, the likeliest first. left: { n, mass } of tokens that are not listed, which count as equals.
 * Returns { probabilities, left, kept, entropy }: left is what the unlisted ones have together, kept how many tokens may be
 * drawn, entropy that of the result in bits. */
export function reshape(logprobs, left, { temperature = 1, topK = 0, topP = 1, minP = 0 }) {
  if (temperature < GREEDY) {
    return { probabilities: logprobs.map((_, at) => (at ? 0 : 1)), left: 0, kept: 1, entropy: 0 };
  }
  const scores = logprobs.map((logprob) => logprob / temperature);
  let others = left.n && left.mass > 0 ? left.n : 0;
  const other = others ? Math.log(left.mass / left.n) / temperature : -Infinity;
  let listed = scores.length;
  if (topK) {
    listed = Math.min(listed, topK);
    others = Math.min(others, topK - listed);
  }
  if (topP < 1) [listed, others] = nucleus(scores.slice(0, listed), other, others, topP);
  if (minP > 0) {
    const least = scores[0] + Math.log(minP);
    while (listed > 1 && scores[listed - 1] < least) listed -= 1;
    if (other < least) others = 0;
  }
  const weights = scores.map((score, at) => (at < listed ? Math.exp(score - scores[0]) : 0));
  const rest = others * Math.exp(other - scores[0]);
  const total = weights.reduce((sum, weight) => sum + weight, rest);
  const probabilities = weights.map((weight) => weight / total);
  return { probabilities, left: rest / total, kept: listed + others, entropy: entropy(probabilities, rest / total, others) };
}

/** Return how many listed and other tokens the fewest are that together have probability topP. */
function nucleus(scores, other, others, topP) {
  const weights = scores.map((score) => Math.exp(score - scores[0]));
  const each = Math.exp(other - scores[0]);
  const total = weights.reduce((sum, weight) => sum + weight, others * each);
  let before = 0;
  for (let at = 0; at < weights.length; at += 1) {
    if (at && before >= topP) return [at, 0];
    before += weights[at] / total;
  }
  return [weights.length, others && before < topP ? Math.min(others, Math.ceil(((topP - before) * total) / each)) : 0];
}

function entropy(probabilities, left, others) {
  const bits = (p) => (p > 0 ? -p * Math.log2(p) : 0);
  return probabilities.reduce((sum, p) => sum + bits(p), others ? others * bits(left / others) : 0);
}
