"""How often a reward model is right about pairs of real people that it has not seen, and what a ruler would reach.

    python benchmarks/preferences.py --model runs/english-sft [--seeds 3]

For each set and seed, `folio reward english` learns from NAME.train.jsonl, the last tenth of which says which
step is kept. NAME.test.jsonl is read once, by the model that was kept; ties count half. A coin reaches 50 %, and so does
who always says the first. Beside the model stand who prefers the longer answer, counted in tokens, and who knows no
order: a weight for each token, as logistic regression learns it from the same pairs. Margin and calibration error are of
the scores as they were learned: `folio reward` stretches those that it saves, which is undone here.
Writes benchmarks/preferences.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro

from folio.config import PACKAGED_RECIPES, read_recipe
from folio.data.preferences import PREFERENCES, Pair, read_preferences, tokenize_pair
from folio.data.records import find_parts
from folio.evaluation.preferences import HeldOutPairs, longer_wins, preference_metrics
from folio.files import read_lines
from folio.model.directory import load_score_model
from folio.model.score import ScoreModel
from folio.objectives.reward import reward_margins
from folio.runs.directory import RunDirectory
from folio.stages.reward import RewardRunConfig
from folio.tokenizer.directory import load_tokenizer

ROOT = Path(__file__).parents[1]
RECIPE = PACKAGED_RECIPES / "english" / "reward.toml"
FIGURES = ("accuracy", "loss", "margin", "calibration_error")
PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03)
"""On the squared weights of tokens, to choose from."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    model: Path = Path("runs/english-sft")
    """Where each reward model starts: a run, or a model directory."""
    sets: tuple[str, ...] = ("preferences/polite", "preferences/harmless")
    """Two files each, .train.jsonl and .test.jsonl, here or below a data folder."""
    seeds: int = 3
    threads: int | None = None
    """CPU threads; by default one for each core."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A set and a seed. pairs: those that were learned from, to choose the step, and those of the test; left_out: as
    many again that are longer than the context. seconds: of training."""

    name: str
    seed: int
    pairs: tuple[int, int, int]
    left_out: tuple[int, int, int]
    longer_wins: float
    words_alone: float
    figures: dict[str, float]
    seconds: float


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    rows, machine = [], ""
    for name in config.sets:
        for seed in range(1, config.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                run = RunDirectory(Path(folder) / "reward")
                train(config, name, seed, run)
                rows.append(measured(name, seed, run))
                info = run.read_info()
            machine = f"{info['hardware']}, torch {info['torch']}, threads: {info['runtime']['threads']}"
            print(line(rows[-1]), flush=True)
    for name in config.sets:
        print(summary([row for row in rows if row.name == name]))
    report: dict[str, Any] = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (ROOT / "benchmarks" / "preferences.json").write_text(
        json.dumps(report, indent=1) + "\n", encoding="utf-8"
    )


def train(config: Config, name: str, seed: int, run: RunDirectory) -> None:
    """Train a reward model, in a process of its own."""
    command = [sys.executable, "-m", "folio", "reward", str(RECIPE), str(config.model)]
    command += ["--data", f"{name}.train.jsonl", "--run", str(run.path), "--seed", str(seed)]
    command += ["--threads", str(config.threads)] if config.threads else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def measured(name: str, seed: int, run: RunDirectory) -> Row:
    """Evaluate the model that was kept on the test pairs."""
    model, tokenizer = load_score_model(run.best).eval(), load_tokenizer(run.best)
    found = find_parts(PREFERENCES, {}, [f"{name}.train.jsonl"], None)
    parts = (found.train, found.validation, read_preferences(f"{name}.test.jsonl"))
    everything = [[tokenize_pair(tokenizer, preference) for preference in part] for part in parts]
    fitting = [[pair for pair in part if len(pair) <= model.config.block_size] for part in everything]
    _, choosing, test = fitting
    records = read_lines(run.metrics_file)
    kept = min((record for record in records if "val_loss" in record), key=lambda record: record["val_loss"])
    pad_id = tokenizer.special_ids["<|pad|>"]
    stretched = kept["val_margin"] / all_margins(model, choosing, pad_id).mean().item()
    figures = preference_metrics(stretched * all_margins(model, test, pad_id))
    return Row(
        name=name,
        seed=seed,
        pairs=counts(fitting),
        left_out=counts([part[len(kept) :] for part, kept in zip(everything, fitting, strict=True)]),
        longer_wins=longer_wins([(len(pair.chosen), len(pair.rejected)) for pair in test]),
        words_alone=words_alone(fitting, tokenizer.vocab_size),
        figures={figure: figures[figure] for figure in FIGURES},
        seconds=records[-1]["train_seconds"],
    )


@torch.inference_mode()
def all_margins(model: ScoreModel, pairs: Sequence[Pair], pad_id: int) -> torch.Tensor:
    """By how much the model prefers each chosen answer: (N)."""
    batches = HeldOutPairs.of(pairs, pad_id, reward_margins).batches
    return torch.cat([reward_margins(model, batch).float() for batch in batches])


def words_alone(parts: Sequence[Sequence[Pair]], vocab_size: int) -> float:
    """Accuracy on the test of a judge who knows which tokens an answer has, and neither their order nor the prompt. The
    penalty is that which is right most often about the pairs to choose by."""
    learned, choosing, test = (presence(part, vocab_size) for part in parts)
    weights = [token_weights(learned, penalty) for penalty in PENALTIES]
    best = max(weights, key=lambda w: preference_metrics(choosing @ w)["accuracy"])
    return preference_metrics(test @ best)["accuracy"]


def presence(pairs: Sequence[Pair], vocab_size: int) -> torch.Tensor:
    """For each pair and token, 1 where only the chosen answer has it, -1 where only the rejected one does: (N, V)."""
    rows = torch.zeros(len(pairs), vocab_size)
    for row, pair in zip(rows, pairs, strict=True):
        row[list(set(pair.chosen) - set(pair.rejected))] = 1
        row[list(set(pair.rejected) - set(pair.chosen))] = -1
    return rows


def token_weights(rows: torch.Tensor, penalty: float) -> torch.Tensor:
    """Logistic regression without a bias, to convergence: (V)."""
    weights = torch.zeros(rows.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = -F.logsigmoid(rows @ weights).mean() + penalty * (weights**2).sum()
        total.backward()
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def counts(parts: Sequence[Sequence[Any]]) -> tuple[int, int, int]:
    """How many there are in each of the three."""
    learned, choosing, test = map(len, parts)
    return learned, choosing, test


def line(row: Row) -> str:
    """Return a line of the table of all runs."""
    figures = " | ".join(f"{row.figures[name]:.3f}" for name in FIGURES)
    return f"| {row.name} | {row.seed} | {figures} | {row.seconds:.0f} s |"


def summary(rows: Sequence[Row]) -> str:
    """Return a line of the table: means over the seeds, and from where to where the accuracy goes."""
    first, accuracies = rows[0], [row.figures["accuracy"] for row in rows]
    means = {name: statistics.mean(row.figures[name] for row in rows) for name in FIGURES}
    epochs = read_recipe(RewardRunConfig, RECIPE).training.pairs.epochs
    return (
        f"| {first.name} | {first.pairs} of which {first.left_out} left out, each {epochs:g} times | "
        f"{means['accuracy']:.1%} ({min(accuracies):.1%} to {max(accuracies):.1%}) | 50.0% | {first.longer_wins:.1%} | {first.words_alone:.1%} | "
        f"{means['margin']:.2f} | {means['calibration_error']:.1%} |"
    )


if __name__ == "__main__":
    main()
