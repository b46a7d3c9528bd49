"""Supervised fine-tuning: teach a model that continues texts to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from rich.console import Console

from folio.checkpoint import newest_valid
from folio.config import Settings, Source
from folio.data.characters import require_known
from folio.data.conversations import Conversation, Example, batch_of, fitting_examples, pack, texts_of
from folio.data.known import find_conversations
from folio.data.prompts import sample_questions, up_to_the_user
from folio.data.records import Parts
from folio.evaluation.evaluations import Evaluations
from folio.evaluation.listening import listening
from folio.evaluation.loss import HeldOut
from folio.log import format_count, format_duration, format_times
from folio.report.sft import show_result
from folio.runs.budget import Budget
from folio.runs.default_data import named_or_default
from folio.runs.directory import RunDirectory
from folio.runs.load import find_model, load_to_teach_chat
from folio.runs.rehearsal import rehearse
from folio.runs.samples import Answers, AnswersConfig
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import RuntimeConfig, describe
from folio.stages.stage import (
    Inputs,
    Prepared,
    Stage,
    choose_runtime,
    default_run,
    digest_of,
    draw_losses,
    metrics_before,
)
from folio.tokenizer.protocol import Tokenizer
from folio.training.plan import Plan
from folio.training.sft import SFTConfig, sft_task


@dataclass(frozen=True, kw_only=True)
class SFTRunConfig(Settings):
    """Settings of `folio sft`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare")
    """Model to start from: a run, a checkpoint in it, or any model directory. Or a recipe."""
    data: tuple[Source, ...] = ()
    """Conversations: a .jsonl, .json, .csv or .parquet file, a folder of them, or a dataset of the Hugging Face Hub as
    OWNER/NAME:SUBSET:SPLIT, where subset and split may be left out; or several of these. instructions:TEXT makes requests and answers of a text,
    which is as for folio pretrain; shakespeare makes them of the plays' speeches, arithmetic of worked sums, gsm8k are word
    problems. By default, instructions made of the text that the model was pretrained on."""
    validation: Source | None = None
    """Held-out conversations, in the same form; by default the files of a folder that are named so, or else a tenth of
    the data."""
    output: RunConfig = field(default_factory=RunConfig)
    training: SFTConfig = field(default_factory=SFTConfig)
    samples: AnswersConfig = field(default_factory=AnswersConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def read(config: SFTRunConfig) -> Inputs[Parts[Conversation]]:
    """Read the conversations."""
    find_model(config.model)  # a name that was mistyped is told before any data are looked for
    parts = find_conversations(*named_or_default(config.data, config.validation, config.model))
    return Inputs(parts, parts.origin, digest_of([parts.train, parts.validation], config.model))


def prepare(
    config: SFTRunConfig, inputs: Inputs[Parts[Conversation]], run: RunDirectory, console: Console
) -> Prepared:
    """Pack the conversations, load the model, and measure how long training will take."""
    conversations = inputs.data
    checkpoint, _ = newest_valid(run.checkpoints)
    model, tokenizer = load_to_teach_chat(checkpoint or config.model)
    settings, pad_id = config.training, tokenizer.special_ids["<|pad|>"]
    block_size = settings.row_size(model)
    require_known(tokenizer, texts_of((*conversations.train, *conversations.validation)))
    examples, held_out = (
        fitting_examples(part, tokenizer, block_size)
        for part in (conversations.train, conversations.validation)
    )
    rows, held_out_rows = (pack(each, block_size, pad_id) for each in (examples, held_out))
    budget = Budget.of_minutes(config.output.minutes, settings.steps(len(rows)))
    runtime = choose_runtime(config.runtime, run, budget.seconds)
    torch.manual_seed(settings.seed)
    runtime.place(model)
    size = settings.micro_batch_size
    plan = Plan(model=model.config, micro_batch_size=size, accumulation=1, steps=budget.most_steps)
    batches = [batch_of(held_out_rows[first : first + size]) for first in range(0, len(held_out_rows), size)]
    evaluation = HeldOut(batches, n_bytes=sum(answer_bytes(example, tokenizer) for example in held_out))
    training = Training(
        model=model,
        tokenizer=tokenizer,
        task=sft_task(model, rows, settings),
        evaluation=Evaluations(
            [evaluation, *listening(conversations.validation, tokenizer, model.config.block_size)]
        ),
        runtime=runtime,
        plan=plan,
        budget=budget,
    )
    step_seconds = rehearse(training, evaluation, console)
    before = metrics_before(training, run)
    training.set_steps(budget.steps(0, step_seconds))
    questions = sample_questions([up_to_the_user(each) for each in conversations.validation])
    return Prepared(
        training=training,
        samples=Answers(config.samples.prompt or questions, config.samples.sample_tokens),
        finish=draw_losses,
        facts={
            "conversations": f"{len(conversations.train):,} for training, {len(conversations.validation):,} held out: "
            f"{conversations.origin}",
            "machine": f"{describe(runtime.device)}; {training.runtime}",
            "training": f"{format_count(training.task.steps, 'step')}, each conversation "
            f"{format_times(settings.epochs * training.task.steps / budget.most_steps)}: "
            f"{format_duration(budget.duration(training.task.steps, step_seconds))}",
        },
        before=before,
    )


def answer_bytes(example: Example, tokenizer: Tokenizer) -> int:
    """Return the UTF-8 bytes of the answers in an example, without special tokens."""
    special = set(tokenizer.special_ids.values())
    counted = [i for i, weight in zip(example.ids.tolist(), example.weights, strict=True) if weight]
    return len(tokenizer.decode(i for i in counted if i not in special).encode())


STAGE = Stage(
    name="sft",
    description=__doc__,
    config=SFTRunConfig,
    output=lambda config: config.output.run or default_run(config.model, "sft"),
    read=read,
    prepare=prepare,
    show=show_result,
    length=lambda config: ("epochs", config.training.epochs),
    makes_assistant=True,
)
main = STAGE.main
