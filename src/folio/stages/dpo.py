"""Direct preference optimization: learn from preferences without a reward model or rollouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import tyro
from rich.console import Console

from folio.checkpoint import newest_valid
from folio.config import Settings
from folio.data.prompts import sample_questions
from folio.objectives.dpo import implied_margins
from folio.report.preferences import show_dpo_result
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_for_chat
from folio.runs.samples import Answers, AnswersConfig
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import RuntimeConfig
from folio.stages.preferences import (
    PreferencesConfig,
    digest_of,
    facts_of,
    find_preferences,
    held_out_pairs,
    tokenize_with_notice,
)
from folio.stages.stage import (
    Prepared,
    Stage,
    choose_runtime_and_plan,
    default_run,
    draw_losses,
    metrics_before,
    without_compile,
)
from folio.training.pairs import DPOConfig, dpo_task
from folio.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class DPORunConfig(Settings):
    """Settings of `folio dpo`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Model to start from: a run, a checkpoint in it, or any model directory. Or a recipe."""
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    output: RunConfig = field(default_factory=RunConfig)
    training: DPOConfig = field(default_factory=DPOConfig)
    samples: AnswersConfig = field(default_factory=AnswersConfig)
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))


def prepare(config: DPORunConfig, run: RunDirectory, console: Console) -> Prepared:
    """Tokenize the pairs, and load the model twice: one learns, the other is its reference."""
    preferences = find_preferences(config.preferences)
    start = find_model(config.model)
    digest = digest_of(preferences, start)
    checkpoint = newest_valid(run.checkpoints)[0] if run.exists else None
    # No dropout: the margins compare the model with its reference, and only the weights should differ.
    model, tokenizer = load_for_chat(checkpoint or start, dropout=0.0)
    reference = load_for_chat(start, dropout=0.0)[0].eval().requires_grad_(False)
    pad_id = tokenizer.special_ids["<|pad|>"]
    pairs, held_out = (
        tokenize_with_notice(part, tokenizer, model.config.block_size, console)
        for part in (preferences.train, preferences.validation)
    )

    def plan() -> Plan:
        size = config.training.pairs.micro_batch_size
        steps = config.training.pairs.steps(len(pairs))
        return Plan(model=model.config, micro_batch_size=size, accumulation=1, steps=steps)

    runtime, decided = choose_runtime_and_plan(run, without_compile(config.runtime), digest, plan)
    torch.manual_seed(config.training.pairs.seed)
    runtime.place(model, reference)
    margins = partial(implied_margins, reference=reference, beta=config.training.beta)
    training = Training(
        model=model,
        tokenizer=tokenizer,
        task=dpo_task(model, reference, pairs, pad_id, config.training),
        evaluation=held_out_pairs(held_out, pad_id, margins),
        runtime=runtime,
        plan=decided,
    )
    questions = sample_questions([each.prompt for each in preferences.validation])
    return Prepared(
        training=training,
        samples=Answers(config.samples.prompt or questions, config.samples.sample_tokens),
        finish=draw_losses,
        origin=preferences.origin,
        digest=digest,
        facts=facts_of(pairs, held_out, preferences.origin, config.training.pairs.epochs, training),
        before=metrics_before(training, run),
        shown=("loss", "val_loss", "val_accuracy"),
    )


STAGE = Stage(
    name="dpo",
    description=__doc__,
    config=DPORunConfig,
    output=lambda config: config.output.run or default_run(config.model, "dpo"),
    prepare=prepare,
    show=show_dpo_result,
    makes_assistant=True,
)
main = STAGE.main
