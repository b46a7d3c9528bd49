"""Token ids in, token ids out: read prompts, then write one token a step for every row.

The engine knows no text, no files and no tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from folio.inference.config import GenerationConfig
from folio.inference.fused import FusedGPT
from folio.inference.sampling import Sampler
from folio.model.cache import KVCache
from folio.model.gpt import GPT
from folio.model.mode import evaluating

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class TokenStep:
    """The tokens of one step, a place for each prompt (B)."""

    tokens: list[int | None]
    """None where the row had ended before this step."""
    logprobs: list[float]
    """Of those tokens (see `Sampler`), in nats; 0.0 where there is none."""
    finish_reasons: list[FinishReason | None]
    """Why a row has ended, with this step or before; None before that."""


@dataclass
class Completion:
    """The continuation of one prompt."""

    ids: list[int] = field(default_factory=list)
    """Without the prompt; with the stop id, if it ended with one."""
    logprobs: list[float] = field(default_factory=list)
    """One for each id (see `Sampler`), in nats."""
    finish_reason: FinishReason = "length"
    """"stop": it wrote a stop id; "length": it wrote `max_new_tokens` tokens."""


class Engine:
    """Continue prompts with a model.

    The model may change between one generation and the next, as in reinforcement learning: each begins with
    a copy of the weights, laid out for decoding.
    """

    def __init__(self, model: GPT) -> None:
        self.model = model

    def stream(self, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> Generation:
        """Continue each prompt, and yield every step.

        Prompts may differ in length. Of one longer than `block_size` the last tokens are read. A row ends
        with a token of `stop_ids` or after `max_new_tokens`. The same seed gives the same tokens, and while
        no row and its prompt grow beyond `block_size`, a row's tokens do not depend on the other rows (except
        where rounding, which differs a little from one batch shape to another, tips a draw).

        Raises ValueError for an empty prompt (begin it with a token such as <|bos|>).
        """
        if not all(len(prompt) for prompt in prompts):
            raise ValueError("a prompt is empty: begin it with a token such as <|bos|>")
        return Generation(self.model, prompts, config)

    def generate(self, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> list[Completion]:
        """Continue each prompt to its end, as `stream` does."""
        completions = [Completion() for _ in prompts]
        steps = self.stream(prompts, config)
        for step in steps:
            places = zip(completions, step.tokens, step.logprobs, step.finish_reasons, strict=True)
            for completion, token, logprob, reason in places:
                if token is not None:
                    completion.ids.append(token)
                    completion.logprobs.append(logprob)
                    completion.finish_reason = reason or "length"
        return completions


class Generation(Iterator[TokenStep]):
    """A batch in progress: each `next` is one token for every row that has not ended.

    It ends when every row has. A row that has ended leaves the batch, and the last one takes its place.
    """

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
        self._model = model
        self._device = model.embedding.weight.device
        self._stop_ids = frozenset(config.stop_ids)
        self._left = config.max_new_tokens
        self._ids = [[int(i) for i in prompt] for prompt in prompts]
        self._reasons: list[FinishReason | None] = [None] * len(prompts)
        self._rows = list(range(len(prompts)))
        """Which prompt each row of the batch, as it is now, continues."""
        vocab_size = min(config.vocab_size or model.config.vocab_size, model.config.vocab_size)
        self._sampler = Sampler(config.sampling, config.seed, self._ids, vocab_size, self._device)
        self._tokens = torch.zeros(len(prompts), dtype=torch.int64, device=self._device)
        """(B) written in the last step and not yet read."""
        self._fused = FusedGPT(model)
        self._cache: KVCache | None = None

    def finish(self, row: int) -> None:
        """End a row from outside, for example because its text has reached a stop string."""
        self._reasons[row] = self._reasons[row] or "stop"

    @torch.inference_mode()
    def __next__(self) -> TokenStep:
        live = [place for place, row in enumerate(self._rows) if self._reasons[row] is None]
        if not live or self._left <= 0:
            raise StopIteration
        if len(live) < len(self._rows):
            self._select_rows(live)
        tokens, logprobs = self._sampler(self._read())
        self._tokens = tokens
        self._left -= 1
        return self._record(tokens.tolist(), logprobs.tolist())

    def _record(self, tokens: list[int], logprobs: list[float]) -> TokenStep:
        """Add a token to each row of the batch, and return the step for all prompts."""
        new_tokens: list[int | None] = [None] * len(self._ids)
        new_logprobs = [0.0] * len(self._ids)
        for row, token, logprob in zip(self._rows, tokens, logprobs, strict=True):
            self._ids[row].append(token)
            if self._reasons[row] is None:
                new_tokens[row], new_logprobs[row] = token, logprob
                if token in self._stop_ids:
                    self._reasons[row] = "stop"
                elif not self._left:
                    self._reasons[row] = "length"
        return TokenStep(new_tokens, new_logprobs, list(self._reasons))

    def _read(self) -> Tensor:
        """Read what is new: the prompts, then a token a step. Return logits (B, V)."""
        if self._cache is None:
            return self._prefill(self._model.config.block_size)
        if self._cache.room:
            return self._fused.step(self._tokens, self._cache)
        # The context is full. Keys hold positions and, above the first layer, what they have seen, so none can
        # be dropped or moved. The rest is read again; letting go of a quarter makes that rare.
        return self._prefill(max(1, self._model.config.block_size * 3 // 4))

    def _prefill(self, n_tokens: int) -> Tensor:
        """Read the last `n_tokens` of each row into a new cache. Return logits (B, V).

        Tokens that several rows share, as those of a prompt in reinforcement learning, are read once.
        """
        model = self._model
        row_ids = [tuple(self._ids[row][-n_tokens:]) for row in self._rows]
        places = {each: place for place, each in enumerate(dict.fromkeys(row_ids))}
        distinct = list(places)
        width = max(map(len, distinct))
        ids = torch.tensor(
            [(0,) * (width - len(each)) + each for each in distinct], device=self._device
        )  # (B, T)
        padding = torch.tensor([width - len(each) for each in distinct], device=self._device)
        self._cache = KVCache(model.config, padding, model.compute_dtype, width)
        with evaluating(model):
            hidden_states = model.hidden_states(ids, self._cache.extend(width))  # (B, T, C)
        logits: Tensor = model.head(hidden_states[:, -1])
        copies = [places[each] for each in row_ids]
        self._cache.expand_rows(copies, min(width + self._left, model.config.block_size))
        return logits[copies]

    def _select_rows(self, live: list[int]) -> None:
        """Continue with these rows of the batch alone: the last of them move to where others have ended."""
        n = len(live)
        free = sorted(set(range(n)).difference(live))
        moved = dict(zip(free, (place for place in live if place >= n), strict=True))
        places = [moved.get(place, place) for place in range(n)]
        selected = torch.tensor(places, device=self._device)
        self._rows = [self._rows[place] for place in places]
        self._sampler.select_rows(selected)
        self._tokens = self._tokens[selected]
        if self._cache is not None:
            self._cache.select_rows(places)
