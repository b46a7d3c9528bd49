"""Pretraining: train a GPT to continue a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from folio.checkpoint import newest_valid
from folio.config import Count, Many, Positive, Seed, Settings, Source, from_table
from folio.data.corpora import KNOWN_CORPORA, Corpus, load_corpus, pieces, require_length
from folio.data.windows import RandomWindows, validation_windows
from folio.evaluation.loss import HeldOut
from folio.files import read_lines
from folio.model.architectures import ARCHITECTURES
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.report.loss_figure import plot_losses
from folio.report.pretrain import reference_of, show_choices, show_estimate, show_result
from folio.report.reference import Reference
from folio.runs.directory import RunDirectory
from folio.runs.rehearsal import Rehearsal, rehearse
from folio.runs.samples import Continuation
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import Runtime, RuntimeConfig, available_memory
from folio.stages.stage import Inputs, Prepared, Stage, choose_runtime
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import Accumulated
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan, SizeConfig, choose_plan, choose_steps, explain_plan
from folio.training.schedule import ScheduleConfig
from folio.training.task import Task

VALIDATION_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class PretrainRunConfig(Settings):
    """Settings of `folio pretrain`."""

    data: Source = "shakespeare"
    """A text: shakespeare, arithmetic, a .txt file, .jsonl or .parquet with a text in each row, or a folder of them."""
    tokenizer: Literal["char", "bpe"] = "char"
    """Tokens are characters, or pieces of words that are frequent in the text (byte-level BPE)."""
    vocab_size: Many = 4096
    """Maximum vocabulary size of bpe. With char it is the number of characters in the text."""
    output: RunConfig = field(default_factory=RunConfig)
    minutes: Positive = 5.0
    """How long to train, where the number of steps is not given."""
    seed: Seed = 1
    """Seed of the initial weights and of the order of the text."""
    architecture: Literal["qwen3", "llama", "gpt2"] = "qwen3"
    """Architecture of the model."""
    prompt: str = "\n"
    """Prompt of the samples along the way."""
    sample_tokens: Count = 100
    """Length of the samples along the way."""
    validation_tokens: Count = 2**17
    """Evaluate on at most so many tokens, from the beginning of the validation text: more would take longer than
    training and tell no more."""
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


def read(config: PretrainRunConfig) -> Inputs[Corpus]:
    """Read the text."""
    corpus = load_corpus(config.data)
    return Inputs(corpus, corpus.origin, corpus.sha256)


def prepare(
    config: PretrainRunConfig, inputs: Inputs[Corpus], run: RunDirectory, console: Console
) -> Prepared:
    """Tokenize the text, choose sizes, build the model, and measure how long a step takes."""
    corpus = inputs.data
    for notice in corpus.notices:
        console.print(notice, soft_wrap=True)
    checkpoint, _ = newest_valid(run.checkpoints)
    tokenizer = load_tokenizer(checkpoint) if checkpoint else TOKENIZERS[config.tokenizer](config, corpus)
    train_ids, val_ids = (encode(text, tokenizer) for text in corpus.split())
    val_ids = val_ids[: config.validation_tokens + 1]  # the first is no target
    runtime = choose_runtime(config.runtime, run)
    plan = (
        from_table(Plan, run.read_info()["plan"], str(run.info_file))
        if run.exists
        else new_plan(config, runtime, tokenizer.vocab_size, len(train_ids), len(val_ids))
    )
    require_length(train_ids, plan.model.block_size + 1, "The training text", tokenizer.unit)
    require_length(val_ids, plan.model.block_size + 1, "The validation text", tokenizer.unit)
    evaluation = HeldOut(
        list(validation_windows(val_ids, plan.model.block_size, VALIDATION_BATCH_SIZE)),
        n_bytes=len(tokenizer.decode(val_ids[1:].tolist()).encode()),
    )
    training = build(config, plan, runtime, tokenizer, train_ids, evaluation)
    flops = runtime.flops_per_second * 60 * config.minutes
    why = "" if run.exists else explain_plan(config.size, plan, len(train_ids), flops)
    show_choices(corpus, training, len(train_ids), why, console)
    rehearsal = rehearse(training, evaluation, console)
    if not plan.steps:
        training.plan = replace(plan, steps=affordable_steps(config, plan, len(train_ids), rehearsal))
        training.task.steps = training.plan.steps
    show_estimate(training, len(train_ids), rehearsal.seconds(training.plan.steps), console)
    return Prepared(
        training=training,
        samples=Continuation(config.prompt, config.sample_tokens),
        finish=draw_losses,
    )


def build(
    config: PretrainRunConfig,
    plan: Plan,
    runtime: Runtime,
    tokenizer: Tokenizer,
    train_ids: Tensor,
    evaluation: HeldOut,
) -> Training:
    """Return a model of the planned sizes and the task of training it on `train_ids`."""
    torch.manual_seed(config.seed)
    model = GPT(plan.model)
    runtime.place(model)
    line_end, _ = tokenizer.drop_unknown("\n")
    windows = RandomWindows(
        train_ids,
        block_size=plan.model.block_size,
        batch_size=plan.micro_batch_size,
        seed=config.seed,
        opening=(int(tokenizer.encode(line_end)[0]), tokenizer.special_ids["<|bos|>"]) if line_end else None,
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
        model=model, tokenizer=tokenizer, task=task, evaluation=evaluation, runtime=runtime, plan=plan
    )


def char_tokenizer(config: PretrainRunConfig, corpus: Corpus) -> Tokenizer:
    """Return a tokenizer of all characters of the text, of its validation part too."""
    return CharTokenizer.train(corpus.text)


def bpe_tokenizer(config: PretrainRunConfig, corpus: Corpus) -> Tokenizer:
    """Return a tokenizer of what is frequent in the training part; bytes can spell the rest."""
    return BPETokenizer.train(pieces(corpus.split()[0]), config.vocab_size)


TOKENIZERS: Mapping[str, Callable[[PretrainRunConfig, Corpus], Tokenizer]] = {
    "char": char_tokenizer,
    "bpe": bpe_tokenizer,
}
"""How each kind is made from a text; the same text gives the same tokenizer."""


def encode(text: str, tokenizer: Tokenizer) -> Tensor:
    """Return the ids of a text of any length: (N) int32."""
    return torch.from_numpy(np.concatenate([tokenizer.encode(piece) for piece in pieces(text)]))


def new_plan(
    config: PretrainRunConfig, runtime: Runtime, vocab_size: int, n_train: int, n_validation: int
) -> Plan:
    """Choose the sizes of a new run. n_train, n_validation: tokens."""
    architecture = ARCHITECTURES[config.architecture]
    plan = choose_plan(
        config.size,
        dict(architecture.parts),
        vocab_size=vocab_size,
        n_train=n_train,
        n_validation=n_validation,
        flops=runtime.flops_per_second * 60 * config.minutes,
        free_memory=0.8 * available_memory(runtime.device),
        device_type=runtime.device.type,
    )
    architecture.write(plan.model, {})  # raises now, not at the first save, if it cannot be saved
    return plan


def affordable_steps(config: PretrainRunConfig, plan: Plan, n_train: int, rehearsal: Rehearsal) -> int:
    """Return how many steps fit into the minutes; at least half of the time is for training, however long an
    evaluation takes."""
    seconds = 60 * config.minutes - min(rehearsal.seconds(0), 30 * config.minutes)
    return choose_steps(plan, n_train, seconds, rehearsal.step_seconds)


def draw_losses(run: RunDirectory) -> None:
    """Draw loss.png, with the recipe's measured curves where this run can be compared with them."""
    info = run.read_info()
    reference = reference_of(run)
    if reference and reference.mismatch(info):
        reference = None
    plan = from_table(Plan, info["plan"], str(run.info_file))
    plot_losses(read_lines(run.metrics_file), plan.total_tokens, run.plot, reference)


STAGE = Stage(
    name="pretrain",
    description=__doc__,
    config=PretrainRunConfig,
    output=output,
    read=read,
    prepare=prepare,
    show=show_result,
    check_recipe=Reference.beside,
)
main = STAGE.main
