"""Supervised fine-tuning: from a model that continues texts to one that answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from folio.checkpoint import newest_whole
from folio.data import arithmetic
from folio.data.conversations import (
    Conversation,
    Example,
    PackedConversations,
    batch_of,
    pack,
    read_conversations,
    tokenize_all,
)
from folio.data.corpora import load_corpus
from folio.data.jsonl import read_split
from folio.data.plays import dialogues
from folio.errors import UserError
from folio.evaluation.loss import HeldOut
from folio.log import clock, size
from folio.objectives.next_token import next_token_loss
from folio.runtime import describe
from folio.stages.models import load_to_teach_chat
from folio.stages.rehearsal import rehearse
from folio.stages.show import show_table
from folio.stages.training import Answers, Training
from folio.stages.tuning import Prepared, Stage, TuningConfig, choices, draw_losses
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.train.loop import accumulate
from folio.train.optimizer import OptimizerConfig, build_optimizers
from folio.train.plan import Plan
from folio.train.run import RunDirectory, read_lines

LONGEST_SPEECH = 120
"""Characters. Longer speeches of a play are monologues, not answers, and two would not fit into a context."""


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TuningConfig):
    """Everything that decides a fine-tuning run."""

    data: str = "shakespeare"
    """Conversations: a .jsonl file or a folder of them; shakespeare makes them of the plays' speeches, arithmetic of
    worked sums."""
    validation: Path | None = None
    """Conversations to measure on; by default the last tenth of the data."""
    epochs: float = 1.0
    """How often each conversation is seen."""
    micro_batch_size: int = 8
    """Rows that go through the model together; a step is one of them."""
    prompt: str = "What is thy name?"
    """What the samples along the way answer."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.001
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epochs < math.inf:
            raise UserError(f"epochs is {self.epochs}: it must be above 0.")
        if self.micro_batch_size < 1:
            raise UserError(f"micro_batch_size is {self.micro_batch_size}: it must be at least 1.")


@dataclass(frozen=True)
class Conversations:
    """train, validation: lists of conversations. origin: where they are from."""

    train: Sequence[Conversation]
    validation: Sequence[Conversation]
    origin: str

    @cached_property
    def digest(self) -> str:
        """What tells them from others."""
        return hashlib.sha256(json.dumps([self.train, self.validation]).encode()).hexdigest()


def find_conversations(config: SFTConfig) -> Conversations:
    """Conversations to learn from and to measure on. Raises UserError where there are none."""
    if config.data in KNOWN_CONVERSATIONS:
        known = KNOWN_CONVERSATIONS[config.data]()
        if config.validation is not None:
            known = replace(known, validation=read_conversations(config.validation))
        return known
    return Conversations(*read_split(read_conversations, Path(config.data), config.validation), config.data)


def speeches_and_replies() -> Conversations:
    """Those of the plays. Raises UserError where the plays cannot be had."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":  # what stands in for a text is no play
        raise UserError(f"{corpus.notices[0]} There are no speeches in that; give conversations with --data.")
    learned, measured = (dialogues(text, LONGEST_SPEECH) for text in corpus.split())
    return Conversations(learned, measured, f"speeches and replies of {corpus.origin}")


def worked_sums() -> Conversations:
    """Sums, answered with their working."""
    learned, measured = (
        [
            Conversation(
                [{"role": "user", "content": each.problem}, {"role": "assistant", "content": each.working}],
                f"sum {number}",
            )
            for number, each in enumerate(part, start=1)
        ]
        for part in arithmetic.examples()
    )
    return Conversations(learned, measured, "worked sums, made by folio")


KNOWN_CONVERSATIONS: dict[str, Callable[[], Conversations]] = {
    "shakespeare": speeches_and_replies,
    "arithmetic": worked_sums,
}
"""What a name stands for."""


def prepare(config: SFTConfig, run: RunDirectory, console: Console) -> Prepared:
    """Conversations as rows of tokens, a model to learn them, and how long it will take."""
    conversations = find_conversations(config)
    checkpoint, _ = newest_whole(run.checkpoints) if run.exists else (None, [])
    model, tokenizer = load_to_teach_chat(checkpoint or config.model)
    block_size, pad_id = model.config.block_size, tokenizer.special_ids["<|pad|>"]
    learned = tokenized(conversations.train, tokenizer, block_size, console)
    measured = tokenized(conversations.validation, tokenizer, block_size, console)
    rows, validation = (pack(examples, block_size, pad_id) for examples in (learned, measured))

    def plan() -> Plan:
        steps = max(1, round(config.epochs * len(rows) / config.micro_batch_size))
        return Plan(model=model.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=steps)

    runtime, decided = choices(run, config.runtime, conversations.digest, plan)
    torch.manual_seed(config.seed)
    model.to(runtime.device).train()
    model.compute_dtype = runtime.compute_dtype
    n_rows = config.micro_batch_size
    batches = [batch_of(validation[first : first + n_rows]) for first in range(0, len(validation), n_rows)]
    source = PackedConversations(rows, batch_size=n_rows, seed=config.seed)
    training = Training(
        model=model,
        tokenizer=tokenizer,
        source=source,
        groups=accumulate(source, 1),
        loss_function=next_token_loss,
        evaluation=HeldOut(batches, n_bytes=sum(answer_bytes(example, tokenizer) for example in measured)),
        optimizers=build_optimizers(model, config.optimizer, muon_dtype=runtime.compute_dtype),
        runtime=runtime,
        plan=decided,
    )
    seconds = rehearse(training, config.optimizer, config.schedule, console).seconds(decided.steps)
    facts = {
        "conversations": f"{len(conversations.train):,}, and {len(conversations.validation):,} to measure on: "
        f"{conversations.origin}",
        "machine": f"{describe(runtime.device)}; {training.runtime}",
        "training": f"{decided.steps:,} steps, each conversation {config.epochs:g} times: {clock(seconds)}",
    }
    return Prepared(training, Answers([config.prompt]), facts, conversations.origin, conversations.digest)


def tokenized(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, block_size: int, console: Console
) -> list[Example]:
    """Conversations as tokens (see `tokenize_all`). Says how many were cut or left out."""
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
    """UTF-8 bytes of the answers in an example, without special tokens."""
    special = set(tokenizer.special_ids.values())
    counted = [i for i, weight in zip(example.ids.tolist(), example.weights, strict=True) if weight]
    return len(tokenizer.decode(i for i in counted if i not in special).encode())


def show_result(run: RunDirectory, console: Console) -> None:
    """Loss before and after, answers, and what to do next."""
    info, records = run.read_info(), read_lines(run.metrics_file)
    evaluated = [record for record in records if "val_loss" in record]
    if not evaluated:
        raise UserError(f"{run.metrics_file} is damaged: it holds no evaluation. The model is {run.best}.")
    best = min(evaluated, key=lambda record: record["val_loss"])
    unit = load_tokenizer(run.best).unit
    console.print()
    show_table(
        {
            "validation loss": f"{best['val_loss']:.4f} nats a {unit} of the answers, at step {best['step']:,}; "
            f"{info['before']['val_loss']:.4f} before",
            "training": f"{clock(records[-1]['train_seconds'])}, {size(info['peak_memory'])} at most",
            "model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    console.print()
    console.print(Text("Next", style="bold"))
    console.print(f"  folio chat {run.path}", soft_wrap=True)


STAGE = Stage("sft", __doc__, SFTConfig, prepare, draw_losses, show_result)
main = STAGE.main
