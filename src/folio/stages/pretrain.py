"""Pretraining: train a GPT to continue a text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from folio.activity import activity
from folio.checkpoint import newest_valid
from folio.config import Count, Many, Seed, Settings, Source, from_table
from folio.data.corpora import KNOWN_CORPORA, Corpus, load_corpus, require_length
from folio.data.large import find_shards
from folio.data.shards import ShardedIds, TokenShards
from folio.data.windows import RandomWindows, spread_windows, validation_windows
from folio.distributed import on_first
from folio.evaluation.loss import HeldOut
from folio.model.architectures import ARCHITECTURES
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.report.loss_figure import plot_losses
from folio.report.pretrain import choices, estimate, show_result
from folio.report.reference import Reference, reference_of
from folio.runs.budget import Budget
from folio.runs.directory import RunDirectory
from folio.runs.rehearsal import rehearse
from folio.runs.samples import Continuation
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import Runtime, RuntimeConfig, available_memory
from folio.stages.stage import Inputs, Prepared, Stage, choose_runtime
from folio.tokenizer.choice import TokenizerChoice
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.pieces import pieces
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import Accumulated
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan, SizeConfig, choose_plan, explain_plan, most_steps, require_memory
from folio.training.schedule import ScheduleConfig
from folio.training.spacing import EVALUATIONS
from folio.training.task import Task

VALIDATION_BATCH_SIZE = 32
DEFAULT_MINUTES = 5.0
ASSUMED_EFFICIENCY = 0.5
"""Speed of a training step relative to a matrix product, until it has been measured."""
EVALUATION_SHARE = 1 / 7 / EVALUATIONS
"""Share of the time that an evaluation may take."""


@dataclass(frozen=True, kw_only=True)
class PretrainRunConfig(Settings):
    """Settings of `folio pretrain`."""

    data: Source = "shakespeare"
    """A text: shakespeare, arithmetic, a .txt or .md file, .jsonl, .json, .csv or .parquet with a `text` in each row, also as
    .gz or .zst, or a folder of them; a dataset of the Hugging Face Hub (OWNER/NAME:SUBSET:SPLIT); or a directory of token
    shards that folio tokenize made. What is large, compressed or on the Hub is tokenized into shards in the cache, once."""
    validation: Source | None = None
    """Validation text, in the same form; by default the files of a folder that are named so, or else a tenth of the
    data."""
    tokenizer: Source = "char"
    """Tokens are characters (char), or pieces of words that are frequent in the text (bpe, byte-level); or those of a directory
    that has a tokenizer, such as one of folio tokenizer train. Token shards bring their own."""
    reserve: Literal["printable", "none"] = "printable"
    """Characters that char has beside those of the text, so that the model can go on to conversations that use them: its
    letters in both cases, all printable ASCII characters and the usual typographic marks; or none, as in the lecture."""
    vocab_size: Many = 4096
    """Maximum vocabulary size of bpe. With char it follows from the text and from what is reserved."""
    output: RunConfig = field(default_factory=RunConfig)
    seed: Seed = 1
    """Seed of the initial weights and of the order of the text."""
    architecture: Literal["qwen3", "llama", "gpt2"] = "qwen3"
    """Architecture of the model."""
    prompt: str = "\n"
    """Prompt of the samples along the way."""
    sample_tokens: Count = 100
    """Length of the samples along the way."""
    validation_tokens: Count = 2**17
    """Evaluate on at most so many tokens, evenly spread over the validation text, and on fewer where the ten evaluations
    would take more than a seventh of the time."""
    size: SizeConfig = field(default_factory=SizeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def output(config: PretrainRunConfig) -> Path:
    """Return the run directory: by default runs/ and the name of the text that will be read."""
    if config.output.run is not None:
        return config.output.run
    is_known = config.data in KNOWN_CORPORA  # another text may stand in for it, with a name of its own
    name = load_corpus(config.data).name if is_known else Path(config.data).resolve().stem
    return Path("runs") / name


def read(config: PretrainRunConfig) -> Inputs[Corpus | TokenShards]:
    """Read the text, or open its token shards, which are made first where it is large."""
    shards = find_shards(config.data, config.validation, choice_of(config))
    if shards is not None:
        return Inputs(shards, shards.origin, shards.sha256)
    with activity("Reading the data"):
        corpus = load_corpus(config.data, config.validation)
    return Inputs(corpus, corpus.origin, corpus.sha256)


def prepare(
    config: PretrainRunConfig, inputs: Inputs[Corpus | TokenShards], run: RunDirectory, console: Console
) -> Prepared:
    """Tokenize the text, choose sizes, build the model, and measure how long a step takes."""
    data = inputs.data
    for notice in data.notices:
        console.print(notice, soft_wrap=True)
    text = sharded(config, data) if isinstance(data, TokenShards) else tokenized(config, data, run)
    runtime = choose_runtime(config.runtime, run, seconds_of(config))
    if run.exists:
        plan = from_table(Plan, run.read_info()["plan"], str(run.info_file))
        training, step_seconds = rehearsed(config, plan, runtime, text, console)
        why = ""
    else:
        training, step_seconds = plan_and_build(config, runtime, text, console)
        why = explain_plan(config.size, training.plan, text.n_train, sizing_seconds(config))
    return Prepared(
        training=training,
        samples=Continuation(config.prompt, config.sample_tokens),
        finish=draw_losses,
        facts={
            **choices(data, training, text.n_train, why),
            **estimate(training, text.n_train, step_seconds),
        },
    )


@dataclass(frozen=True)
class TokenizedText:
    """A text as ids, (N) each. opening: see `RandomWindows`; None where `<|bos|>` begins each document."""

    tokenizer: Tokenizer
    train: Tensor | ShardedIds
    validation: Tensor
    opening: tuple[int, int] | None

    @property
    def n_train(self) -> int:
        return len(self.train)

    def held_out(self, block_size: int, n_windows: int) -> HeldOut:
        """Return the evaluation on that many validation windows of block_size, evenly spread, or on all for 0."""
        ids = self.validation
        windows = (
            spread_windows(ids, block_size, VALIDATION_BATCH_SIZE, n_windows)
            if n_windows
            else validation_windows(ids, block_size, VALIDATION_BATCH_SIZE)
        )
        batches = list(windows)
        special = torch.tensor(list(self.tokenizer.special_ids.values()))  # these spell no text
        targets = [
            batch.targets[(batch.weights > 0) & ~torch.isin(batch.targets, special)] for batch in batches
        ]
        n_bytes = sum(len(self.tokenizer.decode(each.tolist()).encode()) for each in targets)
        return HeldOut(batches, n_bytes)


def tokenized(config: PretrainRunConfig, corpus: Corpus, run: RunDirectory) -> TokenizedText:
    """Return a text as ids, of the run's own tokenizer where it has one."""
    checkpoint, _ = newest_valid(run.checkpoints)
    with activity("Building the vocabulary"):
        tokenizer = on_first(
            lambda: load_tokenizer(checkpoint) if checkpoint else make_tokenizer(config, corpus)
        )
    line_end, _ = tokenizer.drop_unknown("\n")
    opening = (int(tokenizer.encode(line_end)[0]), tokenizer.special_ids["<|bos|>"]) if line_end else None
    train, validation = (encode(part, tokenizer) for part in corpus.split())
    return TokenizedText(tokenizer, train, validation, opening)


def sharded(config: PretrainRunConfig, shards: TokenShards) -> TokenizedText:
    """Return the ids of token shards, and as many validation ids as an evaluation reads."""
    validation = torch.from_numpy(shards.validation(config.validation_tokens + 1))
    return TokenizedText(shards.tokenizer, shards.train, validation, None)


def seconds_of(config: PretrainRunConfig) -> float:
    """Return how long a run may take: infinite where the number of steps is given and no time."""
    return 60 * (config.output.minutes or (math.inf if config.size.steps else DEFAULT_MINUTES))


def sizing_seconds(config: PretrainRunConfig) -> float:
    """Return the seconds for which the sizes that are not given are chosen."""
    return 60 * (config.output.minutes or DEFAULT_MINUTES)


def run_length(config: PretrainRunConfig) -> tuple[str, float]:
    """Return the setting that says how long a run is, and its value."""
    return ("steps", config.size.steps) if config.size.steps else ("minutes", seconds_of(config) / 60)


def plan_and_build(
    config: PretrainRunConfig, runtime: Runtime, text: TokenizedText, console: Console
) -> tuple[Training, float]:
    """Return a new training, of sizes and steps that fit its time, by the speed that a rehearsal measures."""
    plan = new_plan(config, runtime, text, ASSUMED_EFFICIENCY)
    training, step_seconds = rehearsed(config, plan, runtime, text, console)
    measured = new_plan(config, runtime, text, plan.efficiency(step_seconds, runtime.flops_per_second))
    if measured.model != plan.model:  # this machine is faster or slower than was assumed
        training, step_seconds = rehearsed(config, measured, training.runtime, text, console)
    fit_evaluation(config, training, text)
    training.set_steps(training.budget.steps(0, step_seconds))
    return training, step_seconds


def rehearsed(
    config: PretrainRunConfig, plan: Plan, runtime: Runtime, text: TokenizedText, console: Console
) -> tuple[Training, float]:
    """Return a training of the planned sizes, and how long its steps and evaluations take."""
    require_length(text.train, plan.model.block_size + 1, "The training text", text.tokenizer.unit)
    require_length(text.validation, plan.model.block_size + 1, "The validation text", text.tokenizer.unit)
    evaluation = text.held_out(plan.model.block_size, plan.validation_windows)
    training = build(config, plan, runtime, text, evaluation)
    return training, rehearse(training, evaluation, console)


def fit_evaluation(config: PretrainRunConfig, training: Training, text: TokenizedText) -> None:
    """Evaluate on fewer windows where an evaluation would take more than its share of the time."""
    budget, block_size = training.budget, training.plan.model.block_size
    n_windows = -(-(len(text.validation) - 1) // block_size)
    share = min(
        config.validation_tokens / (n_windows * block_size),
        EVALUATION_SHARE * budget.seconds / budget.pause_seconds,
    )
    if share < 1:
        n_windows = max(1, int(share * n_windows))
        training.plan = replace(training.plan, validation_windows=n_windows)
        training.evaluation = text.held_out(block_size, n_windows)
        budget.pause_seconds *= share


def new_plan(config: PretrainRunConfig, runtime: Runtime, text: TokenizedText, efficiency: float) -> Plan:
    """Choose the sizes of a new run. efficiency: the speed of training relative to that of a matrix product."""
    architecture = ARCHITECTURES[config.architecture]
    free_memory = on_first(lambda: available_memory(runtime.device))
    plan = choose_plan(
        config.size,
        dict(architecture.parts),
        vocab_size=text.tokenizer.vocab_size,
        n_train=text.n_train,
        n_validation=len(text.validation),
        flops=efficiency * runtime.flops_per_second * sizing_seconds(config),
        free_memory=0.8 * free_memory,
        device_type=runtime.device.type,
    )
    require_memory(plan, free_memory)
    architecture.write(plan.model, {})  # raises now, not at the first save, if it cannot be saved
    return plan


def build(
    config: PretrainRunConfig, plan: Plan, runtime: Runtime, text: TokenizedText, evaluation: HeldOut
) -> Training:
    """Return a model of the planned sizes and the task of training it on a text."""
    tokenizer, block_size = text.tokenizer, plan.model.block_size
    torch.manual_seed(config.seed)
    model = GPT(plan.model)
    runtime.place(model)
    windows = RandomWindows(
        text.train,
        block_size=block_size,
        batch_size=plan.micro_batch_size,
        seed=config.seed,
        opening=text.opening,
    )
    task = Task(
        model=model,
        source=Accumulated(windows, plan.accumulation),
        loss_function=next_token_loss,
        optimizers=build_optimizers(model, config.optimizer),
        steps=plan.steps,
        schedule=config.schedule,
        max_norm=config.optimizer.max_norm,
    )
    return Training(
        model=model,
        tokenizer=tokenizer,
        task=task,
        evaluation=evaluation,
        runtime=runtime,
        plan=plan,
        budget=Budget(seconds_of(config), config.size.steps or most_steps(plan, text.n_train)),
    )


def choice_of(config: PretrainRunConfig) -> TokenizerChoice:
    """Return which tokenizer the text gets."""
    return TokenizerChoice(config.tokenizer, config.vocab_size, config.reserve == "printable")


def make_tokenizer(config: PretrainRunConfig, corpus: Corpus) -> Tokenizer:
    """Return the tokenizer of a text: of all its characters, also those of its validation part, or of what is frequent in
    its training part; or the one that is named."""
    return choice_of(config).make(lambda: set(corpus.text), lambda: pieces(corpus.split()[0]))


def encode(text: str, tokenizer: Tokenizer) -> Tensor:
    """Return the ids of a text of any length: (N) int32."""
    encoded: list[NDArray[np.int32]] = []
    n_done = 0

    def words() -> str:
        return f"Tokenizing, {n_done / max(1, len(text)):.0%}"

    with activity(words):
        for piece in pieces(text):
            encoded.append(tokenizer.encode(piece))
            n_done += len(piece)
    return torch.from_numpy(np.concatenate(encoded))


def draw_losses(run: RunDirectory) -> None:
    """Draw loss.png, with the recipe's measured curves where this run can be compared with them."""
    info = run.read_info()
    reference = reference_of(info)
    if reference and reference.mismatch(info):
        reference = None
    plan = from_table(Plan, info["plan"], str(run.info_file))
    plot_losses(run.read_metrics(), plan.total_tokens, run.plot, reference)


STAGE = Stage(
    name="pretrain",
    description=__doc__,
    config=PretrainRunConfig,
    output=output,
    read=read,
    prepare=prepare,
    show=show_result,
    length=run_length,
    check_recipe=Reference.beside,
    tells_what_it_reads=True,
)
main = STAGE.main
