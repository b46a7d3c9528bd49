"""Direct preference optimization: learn from preferences without a reward model or rollouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from folio.checkpoint import newest_valid
from folio.config import Settings
from folio.data.preferences import Preference
from folio.data.prompts import sample_questions
from folio.data.records import Parts, spread
from folio.evaluation.evaluations import Evaluations
from folio.evaluation.listening import EXCHANGES, prompt_pmi
from folio.evaluation.preferences import HeldOutPairs
from folio.evaluation.prompt_pmi import Exchange
from folio.objectives.dpo import implied_margins
from folio.report.preferences import show_dpo_result
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_for_chat
from folio.runs.samples import Answers, AnswersConfig
from folio.runs.settings import RunConfig
from folio.runtime import RuntimeConfig, for_varying_lengths
from folio.stages.preferences import (
    PreferencesConfig,
    facts_of,
    pairs_training,
    read_preference_inputs,
    tokenize_parts,
)
from folio.stages.stage import (
    Inputs,
    Prepared,
    Stage,
    choose_runtime,
    default_run,
    draw_losses,
    metrics_before,
)
from folio.training.dpo import DPOConfig, dpo_task


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


def read(config: DPORunConfig) -> Inputs[Parts[Preference]]:
    """Read the preferences."""
    return read_preference_inputs(config.preferences, config.model)


def prepare(
    config: DPORunConfig, inputs: Inputs[Parts[Preference]], run: RunDirectory, console: Console
) -> Prepared:
    """Tokenize the pairs, and load the model twice: one learns, the other is its reference."""
    settings, start = config.training.pairs, find_model(config.model)
    checkpoint, _ = newest_valid(run.checkpoints)
    # No dropout: the margins compare the model with its reference, and only the weights should differ.
    model, tokenizer = load_for_chat(checkpoint or start, dropout=0.0)
    reference = load_for_chat(start, dropout=0.0)[0].eval().requires_grad_(False)
    pairs = tokenize_parts(inputs.data, tokenizer, model.config.block_size)
    runtime = choose_runtime(for_varying_lengths(config.runtime), run)
    runtime.place(model, reference)
    pad_id = tokenizer.special_ids["<|pad|>"]
    task = dpo_task(model, reference, pairs.train, pad_id, config.training)
    margins = partial(implied_margins, reference=reference, beta=config.training.beta)
    exchanges = [Exchange("", pair.prompt, pair.chosen) for pair in spread(pairs.validation, EXCHANGES)]
    pmi = prompt_pmi(exchanges, tokenizer, model.config.block_size)
    evaluation = Evaluations([HeldOutPairs.of(pairs.validation, pad_id, margins), *([pmi] if pmi else [])])
    training = pairs_training(model, tokenizer, task, evaluation, settings, runtime, config.output.minutes)
    questions = sample_questions([each.prompt for each in inputs.data.validation])
    return Prepared(
        training=training,
        samples=Answers(config.samples.prompt or questions, config.samples.sample_tokens),
        finish=draw_losses,
        facts=facts_of(pairs, settings.epochs, training),
        before=metrics_before(training, run),
        shown=("loss", "val_loss", "val_accuracy"),
    )


STAGE = Stage(
    name="dpo",
    description=__doc__,
    config=DPORunConfig,
    output=lambda config: config.output.run or default_run(config.model, "dpo"),
    read=read,
    prepare=prepare,
    show=show_dpo_result,
    length=lambda config: ("epochs", config.training.pairs.epochs),
    makes_assistant=True,
)
main = STAGE.main
