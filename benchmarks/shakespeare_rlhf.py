"""Everything after pretraining, on Tiny Shakespeare, with several seeds: what each step brings on held-out prompts.

    folio pretrain plays
    python benchmarks/shakespeare_rlhf.py --model runs/plays

For each seed: SFT, labels by the rubric, reward model, PPO, and beside it DPO on the same preferences and best of N by
the same reward model. Every model then answers all held-out prompts once; the rubric, which none of them was trained
on, scores the answers. With the first seed, PPO is run at two other prices of distance as well. Runs that are there
already are not made again. Writes shakespeare_rlhf.json, docs/ppo-seeds.png and docs/ppo-kl.png.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from folio import __version__, cli
from folio.data.known import find_prompts
from folio.evaluation.diversity import distinct_n
from folio.files import read_lines
from folio.model.gpt import GPT
from folio.report.overoptimization import reward_curves
from folio.report.rl_history import History
from folio.rl.rewards import Sample, WeightedSum
from folio.rl.rollouts import Prompt, RolloutSampler, sample_completions
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_chat
from folio.runs.rewards import load_rewards
from folio.runtime import RuntimeConfig, describe, start_runtime
from folio.tokenizer.chat_template import prompt_ids
from folio.tokenizer.protocol import Tokenizer

RECIPES = "plays"
RUBRIC = "plays/rubric.py:score"
BEST_OF = 8
BEST_OF_PROMPTS = 64
NEW_TOKENS = 120
KL_COEFS = (0.0, 0.05)
"""Beside the recipe's 0.2."""
DPO = ("--nll-coef", "1", *(f"--{part}learning-rate=5e-5" for part in ("", "embedding-", "head-")))
"""Without the first, it learns not to end its answers."""
RESULTS = Path(__file__).with_suffix(".json")
DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Train what is missing, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/plays"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-rlhf"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "folio": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/shakespeare_rlhf.py",
    }
    results |= {f"seed {seed}": one_seed(arguments.model, arguments.out, seed) for seed in arguments.seeds}
    runtime = start_runtime(RuntimeConfig(compile="off"))
    results["hardware"] = {"machine": describe(runtime.device), "torch": torch.__version__}
    results["kl_coefs"] = follow_kl(arguments.out, arguments.seeds[0])
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    show([results[f"seed {seed}"] for seed in arguments.seeds])
    if len(arguments.seeds) > 1:
        runs = [arguments.out / f"ppo-{seed}" for seed in arguments.seeds]
        draw(runs, DOCS / "ppo-seeds.png")


def follow_kl(out: Path, seed: int) -> list[dict[str, float]]:
    """Run the same PPO with other prices for distance, draw reward and gold reward against that distance, and return the
    last evaluation of each run: gains in standard deviations of the answers at the start."""
    sft, reward = (out / f"{name}-{seed}" for name in ("sft", "reward"))
    runs = [out / f"ppo-{seed}"]
    for kl_coef in KL_COEFS:
        runs.append(out / f"ppo-{seed}-kl-{kl_coef}")
        common = ("--kl-coef", str(kl_coef), "--seed", str(seed), "--resume")
        folio("ppo", RECIPES, sft, "--reward", reward, "--run", runs[-1], *common)
    folio("rl-report", *runs, "--png", DOCS / "ppo-kl.png")
    curves = reward_curves([(run.name, History.from_run(RunDirectory(run))) for run in runs])
    return [
        {
            "kl_coef": curve.history.setting("kl_coef", math.nan),
            "kl": curve.kl[-1],
            "reward_gain": curve.gains["val_reward"][-1],
            "gold_gain": curve.gains["val_gold"][-1],
            "distinct_2_of_64": curve.history.evaluations[-1]["val_distinct_2"],
        }
        for curve in curves
    ]


def folio(*words: str | Path) -> None:
    """Run a command; the benchmark ends where it fails."""
    print("$ folio", *words, flush=True)
    code = cli.main([str(word) for word in words])
    if code:
        raise SystemExit(code)


def one_seed(model: Path, out: Path, seed: int) -> dict[str, dict[str, float]]:
    """All stages with one seed, and what came of them."""
    sft, labels, reward, ppo, dpo = (
        out / f"{name}-{seed}" for name in ("sft", "label", "reward", "ppo", "dpo")
    )
    files = ("--data", labels / "train.jsonl", "--validation", labels / "validation.jsonl")
    common = ("--seed", str(seed), "--resume")
    folio("sft", RECIPES, model, "--run", sft, *common)
    folio("label", RECIPES, sft, "--out", labels, "--seed", str(seed))
    folio("reward", RECIPES, sft, *files, "--run", reward, *common)
    folio("ppo", RECIPES, sft, "--reward", reward, "--run", ppo, *common)
    folio("dpo", sft, *files, "--run", dpo, *DPO, *common)
    measure = Measure(sft, reward, seed)
    return {
        "training": {
            "sft_loss_before": read(sft)["before"]["val_loss"],
            "sft_loss": best(sft)["val_loss"],
            "reward_accuracy": best(reward)["val_accuracy"],
            "reward_calibration_error": best(reward)["val_calibration_error"],
            "longer_wins": longer_wins_of(labels / "validation.jsonl"),
            "dpo_accuracy": best(dpo)["val_accuracy"],
            **{f"{path.name.split('-')[0]}_seconds": seconds(path) for path in (sft, reward, ppo, dpo)},
        },
        "sft": measure(sft),
        "ppo": measure(ppo),
        "dpo": measure(dpo),
        f"best of {BEST_OF}": measure.best_of(sft),
    }


@dataclass(frozen=True)
class Measure:
    """Answers to the held-out prompts, and what the learned and the gold reward say of them."""

    reference: Path
    reward: Path
    seed: int

    def __call__(self, path: Path) -> dict[str, float]:
        """One answer to each prompt."""
        model, tokenizer = load_for_chat(path)
        prompts = self.prompts(tokenizer)
        samples = self.answers(model, tokenizer, prompts)
        reference, _ = load_for_chat(self.reference)
        sampler = RolloutSampler(
            policy=model,
            reference=reference,
            tokenizer=tokenizer,
            reward=load_rewards([str(self.reward)], tokenizer, seconds=10),
            max_new_tokens=NEW_TOKENS,
            temperature=1.0,
            missing_stop_penalty=1.0,
            batch_size=16,
        )
        figures = sampler.score(samples).metrics()
        kept = {name: figures[name] for name in ("reward", "kl", "length", "stop_share")}
        return kept | self.judged_by_rubric(samples, tokenizer)

    def best_of(self, path: Path) -> dict[str, float]:
        """Return the best of N answers by the learned reward: what can be had without any training. Its KL to the model is
        at most ln N - (N - 1) / N (Stiennon et al., 2020)."""
        model, tokenizer = load_for_chat(path)
        prompts = self.prompts(tokenizer)[:BEST_OF_PROMPTS]
        samples = self.answers(model, tokenizer, [prompt for prompt in prompts for _ in range(BEST_OF)])
        given = load_rewards([str(self.reward)], tokenizer, seconds=10)(samples)
        groups = [range(first, first + BEST_OF) for first in range(0, len(samples), BEST_OF)]
        chosen = [max(group, key=given.__getitem__) for group in groups]
        return {
            "reward": statistics.mean(given[i] for i in chosen),
            "kl": math.log(BEST_OF) - (BEST_OF - 1) / BEST_OF,
            "length": statistics.mean(len(samples[i].completion_ids) for i in chosen),
            "stop_share": statistics.mean(samples[i].is_stopped for i in chosen),
        } | self.judged_by_rubric([samples[i] for i in chosen], tokenizer)

    def prompts(self, tokenizer: Tokenizer) -> list[Prompt]:
        """All held-out speeches."""
        held_out = find_prompts(["shakespeare"]).validation
        return [Prompt(messages[-1]["content"], prompt_ids(tokenizer, messages)) for messages in held_out]

    def answers(self, model: GPT, tokenizer: Tokenizer, prompts: list[Prompt]) -> list[Sample]:
        """In batches."""
        samples = []
        for first in range(0, len(prompts), 64):
            samples += sample_completions(
                model,
                tokenizer,
                prompts[first : first + 64],
                max_new_tokens=NEW_TOKENS,
                temperature=1.0,
                seed=1000 * self.seed + first,
            )
        return samples

    def judged_by_rubric(self, samples: list[Sample], tokenizer: Tokenizer) -> dict[str, float]:
        """Return the gold reward, and how much is said twice: in all answers, and in the first 64, for it falls with their
        number, and best of N has no more."""
        rubric: WeightedSum = load_rewards([RUBRIC], tokenizer, seconds=10)
        gold = rubric(samples)
        texts = [sample.completion for sample in samples]
        return {
            "gold": statistics.mean(gold),
            "gold_sd": statistics.pstdev(gold),
            "distinct_2": distinct_n(texts),
            f"distinct_2_of_{BEST_OF_PROMPTS}": distinct_n(texts[:BEST_OF_PROMPTS]),
        }


def draw(runs: list[Path], path: Path) -> None:
    """Reward, gold reward and KL of each run over its rollouts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    titles = {"val_reward": "reward", "val_gold": "gold reward", "val_kl": "KL (nats an answer)"}
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for run in runs:
            measured = [record for record in read_lines(RunDirectory(run).metrics_file) if name in record]
            steps, values = (
                [0, *(each["step"] for each in measured)],
                [read(run)["before"][name], *(each[name] for each in measured)],
            )
            axes.plot(steps, values, marker="o", markersize=3, label=run.name)
        axes.set_title(title)
        axes.set_xlabel("rollouts")
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def read(run: Path) -> dict[str, dict[str, float]]:
    """run.json."""
    return RunDirectory(run).read_info()


def best(run: Path) -> dict[str, float]:
    """Return the evaluation with the lowest loss, whose model was kept."""
    records = read_lines(RunDirectory(run).metrics_file)
    return min((record for record in records if "val_loss" in record), key=lambda record: record["val_loss"])


def seconds(run: Path) -> float:
    """Of training."""
    return read_lines(RunDirectory(run).metrics_file)[-1]["train_seconds"]


def longer_wins_of(path: Path) -> float:
    """How often the longer answer is the preferred one."""
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return statistics.mean(
        (len(p["chosen"]) > len(p["rejected"])) + 0.5 * (len(p["chosen"]) == len(p["rejected"]))
        for p in pairs
    )


def show(seeds: list[dict[str, dict[str, float]]]) -> None:
    """Mean and standard deviation over seeds."""

    def spread(values: list[float]) -> str:
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):8.3f} ± {deviation:.3f}"

    for part in seeds[0]:
        print(part)
        for name in seeds[0][part]:
            print(f"  {name:<26}{spread([seed[part][name] for seed in seeds])}")


if __name__ == "__main__":
    main()
