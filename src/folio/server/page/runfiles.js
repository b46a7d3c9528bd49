// What was read of a run's files so far; each time only what is new is asked for.

import { get } from "./api.js";

/** Return a run of which nothing was read yet. */
export const unread = (id) => ({ id, columns: {}, samples: [], cursors: { metrics: "", samples: "" }, run: null });

/** Read on. Return { isWhole, isNew }: whether all that is there was read, and whether something came. */
export async function readOn(state, signal) {
  const { metrics, samples, ...run } = await get(`/page/api/runs/${encodeURI(state.id)}?${new URLSearchParams(state.cursors)}`, { signal });
  if (metrics.is_first) state.columns = {}; // the file was replaced, as when a run is gone on with
  if (samples.is_first) state.samples = [];
  const length = state.columns.step?.length ?? 0;
  const n = metrics.columns.step?.length ?? 0;
  for (const name of new Set([...Object.keys(state.columns), ...Object.keys(metrics.columns)])) {
    const column = (state.columns[name] ??= new Array(length).fill(null));
    for (let at = 0; at < n; at += 1) column.push(metrics.columns[name]?.[at] ?? null);
  }
  state.samples.push(...samples.items);
  state.cursors = { metrics: metrics.cursor, samples: samples.cursor };
  state.run = run;
  return { isWhole: metrics.is_last && samples.is_last, isNew: n > 0 || samples.items.length > 0 };
}

/** Return the values of a column that are there: { x, y }. */
export function present(columns, name) {
  const x = [];
  const y = [];
  (columns[name] ?? []).forEach((value, at) => value != null && (x.push(columns.step[at]), y.push(value)));
  return { x, y };
}

const WORDS = {
  loss: "training loss", val_loss: "validation loss", val_bpb: "bits per byte", kl: "KL, k1", kl_k3: "KL, k3", train_seconds: "seconds",
};

const STAGES = {
  pretrain: "pretraining", sft: "fine-tuning", label: "labeling", reward: "reward model", dpo: "preference tuning (DPO)",
  ppo: "reinforcement learning (PPO)", grpo: "reinforcement learning (GRPO)",
};

/** Return the name of a stage in words. */
export const stageName = (stage) => STAGES[stage] ?? stage ?? "";

/** Return the name of a metric in words. */
export const inWords = (name) => WORDS[name] ?? name.replace(/^val_(.*)/, "$1, held out").replaceAll("_", " ");
