"""A reward model: it learns from pairs of answers which of two a person would prefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console
from torch import Tensor, nn

from folio.batch import Completions
from folio.checkpoint import newest_whole
from folio.data.preferences import Pair, PairBatches, pair_batch
from folio.evaluation.preferences import HeldOutPairs, longer_wins
from folio.files import read_lines, write_directory
from folio.log import clock, size, times
from folio.model.directory import load_score_model
from folio.model.score import ScoreModel
from folio.objectives.reward import completion_scores, reward_loss
from folio.report.tables import evaluations, show_next, show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_to_teach_chat
from folio.runs.state import Training
from folio.runtime import describe
from folio.stages.preferences import PreferenceConfig, batches_of, digest_of, find_preferences, tokenized
from folio.stages.stage import Prepared, Stage, choices, draw_losses, uncompiled
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import accumulate
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class RewardConfig(PreferenceConfig):
    """Everything that decides the training of a reward model."""

    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.002, eps=1e-5
        )
    )


def prepare(config: RewardConfig, run: RunDirectory, console: Console) -> Prepared:
    """Pairs as tokens, and a model that reads as the given one does, with a scalar head."""
    preferences = find_preferences(config)
    start = find_model(config.model)
    digest = digest_of(preferences, start)
    # No dropout: two scores should differ by what was said, not by which units were left out.
    base, tokenizer = load_to_teach_chat(start, dropout=0.0)
    block_size, pad_id = base.config.block_size, tokenizer.special_ids["<|pad|>"]
    parts = (preferences.train, preferences.validation)
    pairs, held_out = (tokenized(part, tokenizer, block_size, console) for part in parts)
    source = PairBatches(pairs, batch_size=config.micro_batch_size, pad_id=pad_id, seed=config.seed)

    def plan() -> Plan:
        steps = max(1, round(config.epochs * source.batches_per_epoch))
        return Plan(model=base.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=steps)

    runtime, decided = choices(run, uncompiled(config.runtime), digest, plan)
    torch.manual_seed(config.seed)
    checkpoint, _ = newest_whole(run.checkpoints) if run.exists else (None, [])
    model = load_score_model(checkpoint) if checkpoint else ScoreModel.like(base)
    model.to(runtime.device).train()
    model.compute_dtype = runtime.compute_dtype
    training = Training(
        model=model,
        tokenizer=tokenizer,
        source=source,
        groups=accumulate(source, 1),
        loss_function=reward_loss,
        evaluation=HeldOutPairs(batches_of(held_out, pad_id), margins),
        optimizers=build_optimizers(model, config.optimizer, muon_dtype=runtime.compute_dtype),
        runtime=runtime,
        plan=decided,
    )
    facts = {
        "preferences": f"{len(pairs):,} pairs, and {len(held_out):,} to measure on: {preferences.origin}",
        "longer wins": f"right in {longer_wins([(len(pair.chosen), len(pair.rejected)) for pair in held_out]):.1%} "
        "of those: what a judge of lengths alone would reach",
        "machine": f"{describe(runtime.device)}; {runtime}",
        "training": f"{decided.steps:,} steps, each pair {times(config.epochs)}",
    }
    shown = ("loss", "val_loss", "val_accuracy")
    return Prepared(training, Verdicts(held_out[:3]), facts, preferences.origin, digest, shown)


def margins(model: nn.Module, batch: Completions) -> Tensor:
    """By how much the model prefers each chosen answer."""
    chosen, rejected = completion_scores(model, batch).chunk(2)
    return chosen - rejected


@dataclass(frozen=True)
class Verdicts:
    """What the model makes of a few pairs that it does not learn from."""

    pairs: Sequence[Pair]

    @torch.inference_mode()
    def write(self, model: ScoreModel, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Each prompt, and with it both answers, each after its score."""
        device = model.score.weight.device
        batch = pair_batch(self.pairs, tokenizer.special_ids["<|pad|>"]).to(device)
        given = completion_scores(model, batch).tolist()
        written = []
        for i, pair in enumerate(self.pairs):
            prompt, chosen, rejected = (
                tokenizer.decode(ids) for ids in (pair.prompt, pair.chosen[:-1], pair.rejected[:-1])
            )
            other = given[len(self.pairs) + i]
            written.append((prompt, f"chosen {given[i]:+.2f}: {chosen}\nrejected {other:+.2f}: {rejected}"))
        return written


def finish(run: RunDirectory, prepared: Prepared) -> None:
    """Bring the best model's scores to mean 0 and standard deviation 1 on the held-out answers, and draw loss.png.

    A comparison fixes neither; reinforcement learning needs both to mean the same from one reward model to the next
    (Ziegler et al., 2019). The scale goes into the head, the mean stands beside it.
    """
    training = prepared.training
    assert isinstance(training.evaluation, HeldOutPairs)
    model = load_score_model(run.best).to(training.runtime.device).eval()
    if model.score_mean == 0:  # or the run was killed after this, and twice is not the same to the last bit
        standardise(model, [batch.to(training.runtime.device) for batch in training.evaluation.batches])
        training.model = model
        write_directory(run.best, training.save_model)
    draw_losses(run, prepared)


@torch.no_grad()
def standardise(model: ScoreModel, batches: Sequence[Completions]) -> None:
    """Bring its scores of these answers to mean 0 and standard deviation 1."""
    given = torch.cat([completion_scores(model, batch) for batch in batches])
    deviation = given.std().clamp(min=1e-6)
    model.score.weight /= deviation
    model.score_mean = float((given.mean() + model.score_mean) / deviation)


def show_result(run: RunDirectory, console: Console) -> None:
    """How often it is right about pairs that it has not seen, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    best = min(evaluations(run, "val_loss"), key=lambda record: record["val_loss"])
    console.print()
    show_table(
        {
            "accuracy": f"{best['val_accuracy']:.1%} of held-out pairs, at step {best['step']:,}; "
            f"{info['before']['val_accuracy']:.1%} before",
            "margin": f"{best['val_margin']:.2f}, and confidence off by {best['val_calibration_error']:.1%} on average, "
            "as learned; scores are standardised afterwards",
            "training": f"{clock(records[-1]['train_seconds'])}, {size(info['peak_memory'])} at most",
            "reward model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    show_next([f"folio ppo {info['config']['model']} --reward {run.path}"], console)


STAGE = Stage("reward", __doc__, RewardConfig, prepare, finish, show_result)
main = STAGE.main
