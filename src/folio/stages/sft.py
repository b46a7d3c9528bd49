"""Supervised fine-tuning: from a model that continues texts to one that answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console

from folio.checkpoint import newest_whole
from folio.data.conversations import Conversation, Example, PackedConversations, batch_of, pack, tokenize_all
from folio.data.known import find_conversations
from folio.data.prompts import sample_questions, up_to_the_user
from folio.data.records import Parts
from folio.errors import UserError
from folio.evaluation.loss import HeldOut
from folio.files import read_lines
from folio.log import clock, size, times
from folio.objectives.next_token import next_token_loss
from folio.report.tables import evaluations, show_next, show_table
from folio.runs.directory import RunDirectory
from folio.runs.load import load_to_teach_chat
from folio.runs.rehearsal import rehearse
from folio.runs.samples import Answers
from folio.runs.state import Training
from folio.runtime import describe
from folio.stages.stage import Prepared, Stage, TuningConfig, choices, draw_losses
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import accumulate
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TuningConfig):
    """Everything that decides a fine-tuning run."""

    data: str = "shakespeare"
    """Conversations: a .jsonl, .json or .parquet file, a folder of .jsonl and .parquet files, or a dataset of the
    Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT, where subset and split may be left out. shakespeare makes them of the
    plays' speeches, arithmetic of worked sums, gsm8k are word problems."""
    validation: str | None = None
    """Conversations to measure on, in the same form; by default the last tenth of the data."""
    epochs: float = 1.0
    """How often each conversation is seen."""
    block_size: int | None = None
    """Tokens in a row, and so at most in a conversation; by default the model's context. Fewer need less memory."""
    micro_batch_size: int = 8
    """Rows that go through the model together; a step is one of them."""
    prompt: tuple[str, ...] = ()
    """What the samples along the way answer; by default three of the held-out questions."""
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
        if self.block_size is not None and self.block_size < 2:
            raise UserError(f"block_size is {self.block_size}: it must be at least 2.")


def prepare(config: SFTConfig, run: RunDirectory, console: Console) -> Prepared:
    """Conversations as rows of tokens, a model to learn them, and how long it will take."""
    conversations = find_conversations(config.data, config.validation)
    digest = digest_of(conversations)
    checkpoint, _ = newest_whole(run.checkpoints) if run.exists else (None, [])
    model, tokenizer = load_to_teach_chat(checkpoint or config.model)
    context, pad_id = model.config.block_size, tokenizer.special_ids["<|pad|>"]
    block_size = min(config.block_size or context, context)
    learned = tokenized(conversations.train, tokenizer, block_size, console)
    measured = tokenized(conversations.validation, tokenizer, block_size, console)
    rows, validation = (pack(examples, block_size, pad_id) for examples in (learned, measured))

    def plan() -> Plan:
        steps = max(1, round(config.epochs * len(rows) / config.micro_batch_size))
        return Plan(model=model.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=steps)

    runtime, decided = choices(run, config.runtime, digest, plan)
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
        "training": f"{decided.steps:,} steps, each conversation {times(config.epochs)}: {clock(seconds)}",
    }
    asked = [up_to_the_user(each) for each in conversations.validation]
    return Prepared(
        training, Answers(config.prompt or sample_questions(asked)), facts, conversations.origin, digest
    )


def digest_of(conversations: Parts[Conversation]) -> str:
    """What tells them from others."""
    parts = [conversations.train, conversations.validation]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    best = min(evaluations(run, "val_loss"), key=lambda record: record["val_loss"])
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
    show_next([f"folio chat {run.path}"], console)


STAGE = Stage("sft", __doc__, SFTConfig, prepare, draw_losses, show_result)
main = STAGE.main
