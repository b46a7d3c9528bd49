"""Continue a prompt with a model, or let an assistant answer it, and print the text as it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from folio.config import Count, Many, Seed, Settings
from folio.errors import UserError
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.log import format_count
from folio.model.gpt import GPT
from folio.notices import notify
from folio.report.writing import print_pieces
from folio.runs.assistants import Chat, takes_question
from folio.runs.flags import read_config
from folio.runs.load import load_for_inference
from folio.runtime import choose_device
from folio.tokenizer.chat_template import prompt_ids
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Settings):
    """What to generate, and how."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    prompt: str = ""
    """The text to continue; without one the model starts on its own. For an assistant, a question."""
    chat: Chat = "auto"
    """Whether the prompt is a question, to be put into the chat template: auto where the model is of a run of sft, dpo,
    ppo or grpo."""
    tokens: Count = 500
    """Maximum tokens in each answer."""
    num: Many = 1
    """How many answers to the prompt."""
    stop: tuple[str, ...] = ()
    """An answer ends before any of these strings."""
    seed: Seed = 1
    """The same seed gives the same text."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute. A single short text is fastest on the cpu."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8))


def main(arguments: Sequence[str]) -> None:
    """Run `folio sample RUN [flags]`."""
    config = read_config(SampleConfig, arguments, recipe=None, prog="folio sample", description=__doc__)
    model, tokenizer = load_for_inference(config.run)
    model.to(choose_device(config.device))
    prompt, dropped = tokenizer.drop_unknown(config.prompt)
    if dropped:
        notify(f"the model has never seen {', '.join(map(repr, dropped))}; left out of the prompt.")
    read = read_question if takes_question(config.run, tokenizer, config.chat) else read_beginning
    task = read(prompt, model, tokenizer, config)
    steps = stream_text(
        Engine(model),
        tokenizer,
        [task.ids] * config.num,
        GenerationConfig(
            max_new_tokens=task.max_new_tokens,
            sampling=config.sampling,
            seed=config.seed,
            stop_ids=tuple(tokenizer.end_ids),
        ),
        config.stop,
    )
    # The first answer is shown as it is written; the others, written beside it, when it is complete.
    others = [task.shown] * (config.num - 1)

    def first() -> Iterator[str]:
        yield heading(1, config.num) + task.shown
        for piece, *rest in steps:
            yield piece
            others[:] = [text + more for text, more in zip(others, rest, strict=True)]

    print_pieces(first())
    for number, text in enumerate(others, start=2):
        print_pieces([heading(number, config.num), text])


@dataclass(frozen=True)
class SampleTask:
    """What the model reads (ids), what is shown before its text, and how long that may be."""

    ids: list[int]
    shown: str
    max_new_tokens: int


def read_beginning(prompt: str, model: GPT, tokenizer: Tokenizer, config: SampleConfig) -> SampleTask:
    """Return the task of continuing a text."""
    ids, block_size = tokenizer.prompt(prompt), model.config.block_size
    if len(ids) > block_size:
        notify(
            f"the model reads {format_count(block_size, tokenizer.unit)} at once: it does not see the first "
            f"{len(ids) - block_size:,} of the prompt's {len(ids):,}."
        )
    return SampleTask(ids, prompt, config.tokens)


def read_question(prompt: str, model: GPT, tokenizer: Tokenizer, config: SampleConfig) -> SampleTask:
    """Return the task of answering a question.

    Raises UserError where there is none, or where it leaves no room for an answer.
    """
    if not prompt:
        raise UserError(
            f'{config.run} answers questions: give it one, as in --prompt "Who are you?", or talk with it: '
            f"folio chat {config.run}."
        )
    ids, block_size = prompt_ids(tokenizer, [{"role": "user", "content": prompt}]), model.config.block_size
    if len(ids) >= block_size:
        raise UserError(
            f"the question is too long: with its template it has {len(ids):,} tokens, and the model reads {block_size:,}."
        )
    notify(
        f"{config.run} answers questions, and the prompt is one; to talk with it, folio chat {config.run}."
    )
    return SampleTask(ids, "", min(config.tokens, block_size - len(ids)))


def heading(number: int, total: int) -> str:
    """Return a line above each of several answers; "" for a single one, so that it can be piped."""
    return f"--- {number} of {total} ---\n" if total > 1 else ""
