"""Train a reward model: from pairs of answers it learns which of two answers people prefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import tyro
from rich.console import Console

from folio.batch import Completions
from folio.checkpoint import newest_valid
from folio.config import Settings
from folio.data.preferences import Pair, Preference, pair_batch
from folio.data.records import Parts
from folio.evaluation.preferences import HeldOutPairs
from folio.files import write_directory
from folio.model.directory import load_score_model
from folio.model.score import ScoreModel
from folio.objectives.reward import completion_scores, reward_margins
from folio.report.preferences import show_reward_result
from folio.runs.directory import RunDirectory
from folio.runs.load import load_to_teach_chat, read_model, save_model_and_tokenizer
from folio.runs.settings import RunConfig
from folio.runtime import Runtime, RuntimeConfig, for_varying_lengths
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
from folio.tokenizer.protocol import Tokenizer
from folio.training.reward import RewardConfig, reward_task


@dataclass(frozen=True, kw_only=True)
class RewardRunConfig(Settings):
    """Settings of `folio reward`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Model to start from: a run, a checkpoint in it, or any model directory. Or a recipe."""
    preferences: PreferencesConfig = field(default_factory=PreferencesConfig)
    output: RunConfig = field(default_factory=RunConfig)
    training: RewardConfig = field(default_factory=RewardConfig)
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))


def read(config: RewardRunConfig) -> Inputs[Parts[Preference]]:
    """Read the preferences."""
    return read_preference_inputs(config.preferences, config.model)


def prepare(
    config: RewardRunConfig, inputs: Inputs[Parts[Preference]], run: RunDirectory, console: Console
) -> Prepared:
    """Tokenize the pairs, and give the model a scalar head."""
    settings = config.training.pairs
    # No dropout: two scores should differ by the texts, not by which units were left out.
    base, tokenizer = load_to_teach_chat(config.model, dropout=0.0)
    pairs = tokenize_parts(inputs.data, tokenizer, base.config.block_size)
    torch.manual_seed(settings.seed)  # of the head's weights
    checkpoint, _ = newest_valid(run.checkpoints)
    model = load_score_model(checkpoint) if checkpoint else ScoreModel.like(base)
    runtime = choose_runtime(for_varying_lengths(config.runtime), run)
    runtime.place(model)
    pad_id = tokenizer.special_ids["<|pad|>"]
    task = reward_task(model, pairs.train, pad_id, config.training)
    evaluation = HeldOutPairs.of(pairs.validation, pad_id, reward_margins)
    training = pairs_training(model, tokenizer, task, evaluation, settings, runtime, config.output.minutes)
    return Prepared(
        training=training,
        samples=Scores(pairs.validation[:3]),
        finish=partial(finish, tokenizer=tokenizer, runtime=runtime, batches=evaluation.batches),
        facts=facts_of(pairs, settings.epochs, training),
        before=metrics_before(training, run),
        shown=("loss", "val_loss", "val_accuracy"),
    )


@dataclass(frozen=True)
class Scores:
    """The scores of a few held-out pairs: the samples of a reward model."""

    pairs: Sequence[Pair]

    @torch.inference_mode()
    def samples(self, model: ScoreModel, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Return each prompt, and both answers with their scores."""
        device = model.score.weight.device
        batch = pair_batch(self.pairs, tokenizer.special_ids["<|pad|>"]).to(device)
        chosen_scores, rejected_scores = completion_scores(model, batch).chunk(2)
        shown = []
        for pair, better, worse in zip(self.pairs, chosen_scores, rejected_scores, strict=True):
            prompt, chosen, rejected = (
                tokenizer.decode(ids) for ids in (pair.prompt, pair.chosen[:-1], pair.rejected[:-1])
            )
            shown.append((prompt, f"chosen {better:+.2f}: {chosen}\nrejected {worse:+.2f}: {rejected}"))
        return shown


def finish(
    run: RunDirectory, *, tokenizer: Tokenizer, runtime: Runtime, batches: Sequence[Completions]
) -> None:
    """Standardize the best model's scores on the held-out answers, and draw loss.png.

    A comparison fixes neither mean nor scale; reinforcement learning needs both to mean the same from one reward model
    to the next (Ziegler et al., 2019). The scale goes into the head, the mean is stored beside it.
    """
    model = read_model(run.best, load_score_model).eval()
    if model.score_mean == 0:  # or the run was killed after this, and twice is not the same to the last bit
        runtime.place(model)
        standardize(model, [batch.to(runtime.device) for batch in batches])
        write_directory(run.best, lambda folder: save_model_and_tokenizer(model, tokenizer, folder))
    draw_losses(run)


@torch.no_grad()
def standardize(model: ScoreModel, batches: Sequence[Completions]) -> None:
    """Bring the scores of these answers to mean 0 and standard deviation 1."""
    given = torch.cat([completion_scores(model, batch) for batch in batches])
    deviation = given.std().clamp(min=1e-6)
    model.score.weight /= deviation
    model.score_mean = float((given.mean() + model.score_mean) / deviation)


STAGE = Stage(
    name="reward",
    description=__doc__,
    config=RewardRunConfig,
    output=lambda config: config.output.run or default_run(config.model, "reward"),
    read=read,
    prepare=prepare,
    show=show_reward_result,
    length=lambda config: ("epochs", config.training.pairs.epochs),
)
main = STAGE.main
