"""Samples written during training, always to the same prompts and with the same seed: only the model differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from folio.config import Count, Settings
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.model.gpt import GPT
from folio.tokenizer import chat_template
from folio.tokenizer.protocol import Tokenizer


@dataclass(frozen=True, kw_only=True)
class AnswersConfig(Settings):
    """Settings of the samples of an assistant."""

    prompt: tuple[str, ...] = ()
    """Questions that the samples answer; by default three of the held-out ones."""
    sample_tokens: Count = 120
    """Maximum number of tokens in a sample."""


class SampleSource(Protocol):
    """Anything that writes samples of a model."""

    def samples(self, model: Any, tokenizer: Tokenizer) -> Iterable[tuple[str, str]]:
        """Return each prompt, and the text to show for it."""


@dataclass(frozen=True)
class Continuation:
    """A prompt and its continuation: the sample of pretraining."""

    prompt: str
    max_new_tokens: int

    def samples(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Return the prompt, and the prompt with its continuation."""
        return [(self.prompt, continue_text(model, tokenizer, self.prompt, self.max_new_tokens))]


@dataclass(frozen=True)
class Answers:
    """Answers to fixed questions: the samples of all stages that make an assistant."""

    prompts: Sequence[str]
    max_new_tokens: int = 120

    def samples(self, model: GPT, tokenizer: Tokenizer) -> list[tuple[str, str]]:
        """Return each question, and the question with its answer."""
        return [(prompt, self._answer(prompt, model, tokenizer)) for prompt in self.prompts]

    def _answer(self, prompt: str, model: GPT, tokenizer: Tokenizer) -> str:
        question, _ = tokenizer.drop_unknown(prompt)
        ids = chat_template.prompt_ids(tokenizer, [{"role": "user", "content": question}])
        room = max(0, min(self.max_new_tokens, model.config.block_size - len(ids)))
        answer = _generate(model, tokenizer, ids, room, [tokenizer.special_ids["<|end|>"]])
        return f"> {question}\n{answer}"


def continue_text(model: GPT, tokenizer: Tokenizer, prompt: str, max_new_tokens: int) -> str:
    """Return a prompt with its continuation, the same for the same model."""
    prompt, _ = tokenizer.drop_unknown(prompt)
    return prompt + _generate(model, tokenizer, tokenizer.prompt(prompt), max_new_tokens)


def _generate(
    model: GPT, tokenizer: Tokenizer, ids: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int] = ()
) -> str:
    steps = stream_text(
        Engine(model),
        tokenizer,
        [ids],
        GenerationConfig(
            max_new_tokens=max_new_tokens,
            sampling=SamplingConfig(temperature=0.8),
            seed=1,
            stop_ids=tuple(stop_ids),
        ),
    )
    with torch.compiler.set_stance("force_eager"):
        return "".join(piece for step in steps for piece in step)
