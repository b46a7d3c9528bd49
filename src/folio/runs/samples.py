"""Samples written along the way, always to the same prompts and with the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.model.gpt import GPT
from folio.tokenizer import chat_template
from folio.tokenizer.protocol import Tokenizer

SAMPLE_TOKENS = 100


ANSWER_TOKENS = 120


class Writer(Protocol):
    """What writes samples along the way, always to the same prompts and with the same seed."""

    def write(self, model: Any, tokenizer: Tokenizer) -> Iterable[tuple[str, str]]:
        """Each prompt, and what is to be shown of it."""


@dataclass(frozen=True)
class Continuation:
    """A text, continued: the sample of pretraining."""

    prompt: str

    def write(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """The prompt, and with it what the model adds to it."""
        return [(self.prompt, write_text(model, tokenizer, self.prompt, SAMPLE_TOKENS))]


@dataclass(frozen=True)
class Answers:
    """Answers to fixed questions: the samples of all stages that make an assistant."""

    prompts: Sequence[str]

    def write(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Each question, and with it its answer."""
        return [(prompt, self._answered(prompt, model, tokenizer)) for prompt in self.prompts]

    def _answered(self, prompt: str, model: GPT, tokenizer: Tokenizer) -> str:
        question, _ = tokenizer.drop_unknown(prompt)
        ids = chat_template.prompt_ids(tokenizer, [{"role": "user", "content": question}])
        room = min(ANSWER_TOKENS, model.config.block_size - len(ids))
        answer = write_on(model, tokenizer, ids, room, [tokenizer.special_ids["<|end|>"]])
        return f"> {question}\n{answer}"


def write_text(model: GPT, tokenizer: Tokenizer, prompt: str, n_tokens: int) -> str:
    """Prompt and continuation, the same for the same model."""
    prompt, _ = tokenizer.drop_unknown(prompt)
    return prompt + write_on(model, tokenizer, tokenizer.prompt(prompt), n_tokens)


def write_on(
    model: GPT, tokenizer: Tokenizer, ids: Sequence[int], n_tokens: int, stop_ids: Sequence[int] = ()
) -> str:
    """What the model writes after `ids`, the same for the same model."""
    steps = stream_text(
        Engine(model),
        tokenizer,
        [ids],
        max_new_tokens=n_tokens,
        sampling=SamplingConfig(temperature=0.8),
        seed=1,
        stop_ids=stop_ids,
    )
    with torch.compiler.set_stance("force_eager"):
        return "".join(piece for step in steps for piece in step)
