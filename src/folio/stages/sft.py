"""Supervised fine-tuning: from a model that continues texts to one that answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.text import Text

from folio.checkpoint import newest_whole
from folio.config import from_table, read_config
from folio.data.conversations import (
    Example,
    PackedConversations,
    batch_of,
    pack,
    read_conversations,
    tokenize,
)
from folio.data.corpora import KNOWN_CORPORA, load_corpus
from folio.data.plays import dialogues
from folio.errors import UserError
from folio.evaluation.loss import validation_loss
from folio.log import Progress, clock, make_console, size
from folio.model.gpt import GPT
from folio.runtime import Runtime, RuntimeConfig, describe, peak_memory, restore_runtime, start_runtime
from folio.stages.models import load_to_teach_chat
from folio.stages.rehearsal import rehearse
from folio.stages.running import begin_run, resume, train
from folio.stages.show import show_table
from folio.stages.stored import stored_config
from folio.stages.training import Training, Watch, write_on
from folio.tokenizer.chat_template import Message, prompt_ids
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.train.optimizer import OptimizerConfig, build_optimizers
from folio.train.plan import Plan
from folio.train.plot import plot_losses
from folio.train.run import RunDirectory, read_lines
from folio.train.schedule import ScheduleConfig

VALIDATION_SHARE = 0.1
"""Of the conversations of a file, where nothing else is named: the last ones."""
LONGEST_SPEECH = 120
"""Characters. Longer speeches of a play are monologues, not answers, and two would not fit into a context."""
ANSWER_TOKENS = 120


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Everything that decides a fine-tuning run."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare")
    """Where to start: a run, a checkpoint in it, or any model directory."""
    data: str = "shakespeare"
    """Conversations: a .jsonl file or a folder of them; shakespeare makes them of the plays' speeches."""
    validation: Path | None = None
    """Conversations to measure on; by default the last tenth of the data."""
    run: Path | None = None
    """Directory for all that the run leaves behind; by default runs/, the model's name and -sft."""
    resume: bool = False
    """Go on with the run in that directory, if there is one."""
    epochs: float = 1.0
    """How often each conversation is seen."""
    micro_batch_size: int = 8
    """Rows that go through the model together; a step is one of them."""
    seed: int = 1
    prompt: str = "What is thy name?"
    """What the samples along the way answer."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=0.005, embedding_learning_rate=0.005, head_learning_rate=0.001
        )
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        if not 0 < self.epochs < math.inf:
            raise UserError(f"epochs is {self.epochs}: it must be above 0.")
        if self.micro_batch_size < 1:
            raise UserError(f"micro_batch_size is {self.micro_batch_size}: it must be at least 1.")


@dataclass(frozen=True)
class Conversations:
    """train, validation: lists of conversations. origin: where they are from."""

    train: Sequence[Sequence[Message]]
    validation: Sequence[Sequence[Message]]
    origin: str

    @cached_property
    def digest(self) -> str:
        """What tells them from others."""
        return hashlib.sha256(json.dumps([self.train, self.validation]).encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """An answer to a fixed question: the sample of all stages that make an assistant."""

    prompt: str

    def write(self, model: GPT, tokenizer: Tokenizer) -> str:
        """Question and answer."""
        question, _ = tokenizer.drop_unknown(self.prompt)
        ids = prompt_ids(tokenizer, [{"role": "user", "content": question}])
        answer = write_on(model, tokenizer, ids, ANSWER_TOKENS, [tokenizer.special_ids["<|end|>"]])  # type: ignore[arg-type]
        return f"> {question}\n{answer}"


def main(arguments: Sequence[str]) -> None:
    """`folio sft [MODEL] [flags]`."""
    config = read_config(SFTConfig, arguments, recipe=None, prog="folio sft", description=__doc__)
    sft(config, make_console())


def sft(config: SFTConfig, console: Console) -> None:
    """Load a model and conversations, train, and show what came of it."""
    run = RunDirectory(config.run or Path("runs") / f"{config.model.resolve().name}-sft")
    if run.exists:
        with run.owned():
            config = stored_config(run, config, stage="sft", resume=config.resume)
    conversations = find_conversations(config)
    with run.owned():
        if run.exists and run.read_info()["status"] == "finished":
            console.print(f"{run.path} is finished already. This is what it made:", soft_wrap=True)
        else:
            carry_out(config, conversations, run, console)
        show_result(run, console)


def find_conversations(config: SFTConfig) -> Conversations:
    """Conversations to learn from and to measure on. Raises UserError where there are none."""
    if config.data in KNOWN_CORPORA:
        corpus = load_corpus(config.data)
        if corpus.name != config.data:  # what stands in for a text is no play
            raise UserError(
                f"{corpus.notices[0]} There are no speeches in that; give conversations with --data."
            )
        learned, measured = (dialogues(text, LONGEST_SPEECH) for text in corpus.split())
        if config.validation is not None:
            measured = read_conversations(config.validation)
        return Conversations(learned, measured, f"speeches and replies of {corpus.origin}")
    found = read_conversations(Path(config.data))
    if config.validation is not None:
        return Conversations(found, read_conversations(config.validation), config.data)
    n_train = len(found) - max(1, round(VALIDATION_SHARE * len(found)))
    if n_train < 1:
        raise UserError(
            f"{config.data} holds {len(found)} conversation: give at least two, or a --validation file."
        )
    return Conversations(found[:n_train], found[n_train:], config.data)


def carry_out(config: SFTConfig, conversations: Conversations, run: RunDirectory, console: Console) -> None:
    """Train from the beginning, or from the newest checkpoint, to the end."""
    known = run.read_info() if run.exists else {}
    training = build(config, conversations, run, console)
    # A run that goes on starts from its checkpoint; the model that it began with may be another one now.
    before = known.get("val_loss_before") or validation_loss(training.model, training.validation).nats
    rehearsal = rehearse(training, config.optimizer, config.schedule, console)
    if not run.exists:
        begin_run("sft", config, training, run, origin=conversations.origin, digest=conversations.digest)
    run.set_status("running", val_loss_before=before)
    seconds = rehearsal.seconds(training.plan.steps)
    show_table(
        {
            "conversations": f"{len(conversations.train):,}, and {len(conversations.validation):,} to measure on: "
            f"{conversations.origin}",
            "machine": f"{describe(training.runtime.device)}; {training.runtime}",
            "training": f"{training.plan.steps:,} steps, each conversation {config.epochs:g} times: {clock(seconds)}",
            "loss before": f"{before:.4f} nats a {training.tokenizer.unit} of the answers",
        },
        console,
    )
    unfinished = resume(training, run, console)
    watch = Watch(training, run, Progress(console, training.plan.steps), Answer(config.prompt))
    train(watch, config.schedule, config.optimizer.max_norm, console, unfinished)
    plot_losses(read_lines(run.metrics_file), training.plan.total_tokens, run.plot, None)
    run.set_status("finished", peak_memory=peak_memory(training.runtime.device))


def build(config: SFTConfig, conversations: Conversations, run: RunDirectory, console: Console) -> Training:
    """All that a run needs, with the choices that run.json holds, or new ones."""
    checkpoint, _ = newest_whole(run.checkpoints) if run.exists else (None, [])
    model, tokenizer = load_to_teach_chat(checkpoint or config.model)
    block_size, pad_id = model.config.block_size, tokenizer.special_ids["<|pad|>"]
    learned = tokenized(conversations.train, 1, tokenizer, block_size, console)
    measured = tokenized(
        conversations.validation, 1 + len(conversations.train), tokenizer, block_size, console
    )
    rows, validation = (pack(examples, block_size, pad_id) for examples in (learned, measured))
    if run.exists:
        runtime, plan = stored_choices(conversations, run)
    else:
        runtime = start_runtime(config.runtime)
        steps = max(1, round(config.epochs * len(rows) / config.micro_batch_size))
        plan = Plan(model=model.config, micro_batch_size=config.micro_batch_size, accumulation=1, steps=steps)
    torch.manual_seed(config.seed)
    model.to(runtime.device).train()
    model.compute_dtype = runtime.compute_dtype
    n_rows = config.micro_batch_size
    batches = [batch_of(validation[first : first + n_rows]) for first in range(0, len(validation), n_rows)]
    return Training(
        model=model,
        tokenizer=tokenizer,  # type: ignore[arg-type]
        source=PackedConversations(rows, batch_size=n_rows, seed=config.seed),
        validation=batches,
        validation_bytes=sum(answer_bytes(example, tokenizer) for example in measured),
        optimizers=build_optimizers(model, config.optimizer, muon_dtype=runtime.compute_dtype),
        runtime=runtime,
        plan=plan,
    )


def tokenized(
    conversations: Sequence[Sequence[Message]],
    first: int,
    tokenizer: Tokenizer,
    block_size: int,
    console: Console,
) -> list[Example]:
    """Conversations as tokens, numbered from `first`. Says how many were cut or left out.

    Raises UserError for a character that the model does not know, and where none is left.
    """
    examples = []
    for number, messages in enumerate(conversations, start=first):
        try:
            examples.append(tokenize(tokenizer, messages, block_size + 1))
        except UserError as error:
            raise UserError(f"conversation {number}: {error}") from None
    kept = [example for example in examples if example is not None]
    if not kept:
        raise UserError(
            f"none of {len(examples)} conversations has a first answer within {block_size} tokens, the model's context."
        )
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


def stored_choices(conversations: Conversations, run: RunDirectory) -> tuple[Runtime, Plan]:
    """What an earlier process chose. Raises UserError if the conversations are others now."""
    info = run.read_info()
    if info["text_sha256"] != conversations.digest:
        raise UserError(
            f"the conversations are not those that {run.path} was started with; choose another --run."
        )
    return restore_runtime(info["runtime"]), from_table(Plan, info["plan"], str(run.info_file))


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
            f"{info['val_loss_before']:.4f} before",
            "training": f"{clock(records[-1]['train_seconds'])}, {size(info['peak_memory'])} at most",
            "model": str(run.best),
            "curve": str(run.plot),
        },
        console,
    )
    console.print()
    console.print(Text("Next", style="bold"))
    console.print(f"  folio chat {run.path}", soft_wrap=True)
