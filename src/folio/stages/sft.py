"""Supervised fine-tuning: teach a model that continues texts to answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from rich.console import Console

from folio.checkpoint import newest_valid
from folio.config import Settings
from folio.data.conversations import Conversation, Example, batch_of, pack, tokenize_all
from folio.data.known import find_conversations
from folio.data.prompts import sample_questions, up_to_the_user
from folio.data.records import Parts
from folio.evaluation.loss import HeldOut
from folio.log import format_duration, format_times
from folio.report.sft import show_result
from folio.runs.directory import RunDirectory
from folio.runs.load import load_to_teach_chat
from folio.runs.rehearsal import rehearse
from folio.runs.samples import Answers, AnswersConfig
from folio.runs.settings import RunConfig
from folio.runs.state import Training
from folio.runtime import RuntimeConfig, describe
from folio.stages.stage import (
    Prepared,
    Stage,
    choose_runtime_and_plan,
    default_run,
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
    data: str = "shakespeare"
    """Conversations: a .jsonl, .json or .parquet file, a folder of .jsonl and .parquet files, or a dataset of the
    Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split may be left out. shakespeare makes them of the
    plays' speeches, arithmetic of worked sums, gsm8k are word problems."""
    validation: str | None = None
    """Held-out conversations, in the same form; by default the last tenth of the data."""
    output: RunConfig = field(default_factory=RunConfig)
    training: SFTConfig = field(default_factory=SFTConfig)
    samples: AnswersConfig = field(default_factory=AnswersConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def prepare(config: SFTRunConfig, run: RunDirectory, console: Console) -> Prepared:
    """Pack the conversations, load the model, and measure how long training will take."""
    conversations = find_conversations(config.data, config.validation)
    digest = digest_of(conversations)
    checkpoint, _ = newest_valid(run.checkpoints) if run.exists else (None, [])
    model, tokenizer = load_to_teach_chat(checkpoint or config.model)
    settings, pad_id = config.training, tokenizer.special_ids["<|pad|>"]
    block_size = settings.row_size(model)
    examples, held_out = (
        tokenize_with_notice(part, tokenizer, block_size, console)
        for part in (conversations.train, conversations.validation)
    )
    rows, held_out_rows = (pack(each, block_size, pad_id) for each in (examples, held_out))

    def plan() -> Plan:
        size = settings.micro_batch_size
        return Plan(
            model=model.config, micro_batch_size=size, accumulation=1, steps=settings.steps(len(rows))
        )

    runtime, decided = choose_runtime_and_plan(run, config.runtime, digest, plan)
    torch.manual_seed(settings.seed)
    runtime.place(model)
    size = settings.micro_batch_size
    batches = [batch_of(held_out_rows[first : first + size]) for first in range(0, len(held_out_rows), size)]
    evaluation = HeldOut(batches, n_bytes=sum(answer_bytes(example, tokenizer) for example in held_out))
    training = Training(
        model=model,
        tokenizer=tokenizer,
        task=sft_task(model, rows, settings),
        evaluation=evaluation,
        runtime=runtime,
        plan=decided,
    )
    seconds = rehearse(training, evaluation, console).seconds(decided.steps)
    questions = sample_questions([up_to_the_user(each) for each in conversations.validation])
    return Prepared(
        training=training,
        samples=Answers(config.samples.prompt or questions, config.samples.sample_tokens),
        finish=draw_losses,
        origin=conversations.origin,
        digest=digest,
        facts={
            "conversations": f"{len(conversations.train):,} for training, {len(conversations.validation):,} held out: "
            f"{conversations.origin}",
            "machine": f"{describe(runtime.device)}; {training.runtime}",
            "training": f"{decided.steps:,} steps, each conversation {format_times(settings.epochs)}: {format_duration(seconds)}",
        },
        before=metrics_before(training, run),
    )


def digest_of(conversations: Parts[Conversation]) -> str:
    """Return a SHA-256 of all conversations."""
    parts = [conversations.train, conversations.validation]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def tokenize_with_notice(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, block_size: int, console: Console
) -> list[Example]:
    """Return the conversations that fit as tokens (see `tokenize_all`), and print how many were cut or left out."""
    examples = tokenize_all(tokenizer, conversations, block_size)
    kept = [example for example in examples if example is not None]
    n_cut = sum(example.is_cut for example in kept)
    if n_cut or len(kept) < len(examples):
        console.print(
            f"The context is {block_size} tokens: {n_cut:,} conversations are cut after an answer, "
            f"{len(examples) - len(kept):,} left out.",
            soft_wrap=True,
        )
    return kept


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
    prepare=prepare,
    show=show_result,
    makes_assistant=True,
)
main = STAGE.main
