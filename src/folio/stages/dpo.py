"""Direct preference optimization: a model learns from preferences at once, without a reward model or samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from rich.console import Console

from folio.checkpoint import newest_whole
from folio.data.preferences import PairBatches
from folio.data.prompts import sample_questions
from folio.errors import UserError
from folio.evaluation.preferences import HeldOutPairs, longer_wins
from folio.files import read_lines
from folio.log import clock, size, times
from folio.objectives.dpo import dpo_loss, implied_margins
from folio.report.tables import evaluations, show_next, show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_for_chat
from folio.runs.samples import Answers
from folio.runs.state import Training
from folio.runtime import describe
from folio.stages.preferences import PreferenceConfig, batches_of, digest_of, find_preferences, tokenized
from folio.stages.stage import Prepared, Stage, choices, draw_losses, uncompiled
from folio.training.loop import accumulate
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceConfig):
    """Everything that decides a run of DPO."""

    beta: float = 0.1
    """How dearly distance from the reference is paid: the smaller, the further the model goes."""
    nll_coef: float = 0.0
    """Weight of -ln p a token of each chosen answer, which keeps them from becoming less likely. It is a part of loss,
    and not of val_loss."""
    prompt: tuple[str, ...] = ()
    """What the samples along the way answer; by default three of the held-out questions."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            optimizer="adamw",
            learning_rate=2e-5,
            embedding_learning_rate=2e-5,
            head_learning_rate=2e-5,
            beta1=0.9,
            eps=1e-5,
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < math.inf:
            raise UserError(f"beta is {self.beta}: it must be above 0.")
        if not 0 <= self.nll_coef < math.inf:
            raise UserError(f"nll_coef is {self.nll_coef}: it must be at least 0.")


def prepare(config: DPOConfig, run: RunDirectory, console: Console) -> Prepared:
    """Pairs as tokens, a model to learn them, and the same model as it was, to stay near to."""
    preferences = find_preferences(config)
    start = find_model(config.model)
    checkpoint = newest_whole(run.checkpoints)[0] if run.exists else None
    # No dropout: the margins compare the model with its reference, and only the weights should differ.
    model, tokenizer = load_for_chat(checkpoint or start, dropout=0.0)
    reference, _ = load_for_chat(start, dropout=0.0)
    block_size, pad_id = model.config.block_size, tokenizer.special_ids["<|pad|>"]
    parts = (preferences.train, preferences.validation)
    pairs, held_out = (tokenized(part, tokenizer, block_size, console) for part in parts)
    source = PairBatches(pairs, batch_size=config.micro_batch_size, pad_id=pad_id, seed=config.seed)
    digest = digest_of(preferences, start)

    def plan() -> Plan:
        steps = max(1, round(config.epochs * source.batches_per_epoch))
        return Plan(model=model.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=steps)

    runtime, decided = choices(run, uncompiled(config.runtime), digest, plan)
    torch.manual_seed(config.seed)
    for each in (model, reference):
        each.to(runtime.device)
        each.compute_dtype = runtime.compute_dtype
    reference.eval().requires_grad_(False)
    training = Training(
        model=model,
        tokenizer=tokenizer,
        source=source,
        groups=accumulate(source, 1),
        loss_function=partial(dpo_loss, reference=reference, beta=config.beta, nll_coef=config.nll_coef),
        evaluation=HeldOutPairs(
            batches_of(held_out, pad_id), partial(implied_margins, reference=reference, beta=config.beta)
        ),
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
    return Prepared(
        training,
        Answers(config.prompt or sample_questions([each.prompt for each in preferences.validation])),
        facts,
        preferences.origin,
        digest,
        shown,
    )


def show_result(run: RunDirectory, console: Console) -> None:
    """How often its implied reward is right about held-out pairs, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    best = min(evaluations(run, "val_loss"), key=lambda record: record["val_loss"])
    console.print()
    show_table(
        {
            "accuracy": f"{best['val_accuracy']:.1%} of held-out pairs, at step {best['step']:,}",
            "training": f"{clock(records[-1]['train_seconds'])}, {size(info['peak_memory'])} at most",
            "model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    show_next([f"folio chat {run.path}"], console)


STAGE = Stage("dpo", __doc__, DPOConfig, prepare, draw_losses, show_result)
main = STAGE.main
