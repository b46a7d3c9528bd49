"""Token ids in, token ids out: read prompts, then write one token a step for every row.

The engine knows no text, no files and no tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from folio.inference.batching import Batch, FinishReason, Request
from folio.inference.config import GenerationConfig
from folio.model.gpt import GPT

PREFILL_TOKENS = 512
"""Most tokens of prompts that are read in one step: more than where someone waits for the next token of another row."""
MAX_ROWS = 256
"""Most rows at a time: more would need memory and gain no time."""


@dataclass(frozen=True)
class TokenStep:
    """The tokens of one step, a place for each prompt (B)."""

    tokens: list[int | None]
    """None where the row wrote none: it has ended before, or its prompt is not read yet."""
    logprobs: list[float]
    """Of those tokens under softmax(logits / temperature), in nats; 0.0 where there is none. Greedy rows have temperature 1."""
    finish_reasons: list[FinishReason | None]
    """Why a row has ended, with this step or before; None before that."""


@dataclass
class Completion:
    """The continuation of one prompt."""

    ids: list[int] = field(default_factory=list)
    """Without the prompt; with the stop id, if it ended with one."""
    logprobs: list[float] = field(default_factory=list)
    """One for each id (see `TokenStep`), in nats."""
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
        with a token of `stop_ids` or after `max_new_tokens`. The same seed gives the same tokens. A row's tokens
        do not depend on the other rows (see `Batch`). With PyTorch, a single prompt is read in another way, which is faster
        and rounds differently, so that once in many thousands of tokens a draw may be another.

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
    """Prompts that are being continued together: each `next` is a token of every row that is being written.

    It ends when every row has.
    """

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
        is_greedy = config.sampling.is_greedy
        max_rows = min(max(1, len(prompts)), MAX_ROWS)
        self._batch = Batch(model, max_rows=max_rows, prefill_tokens=PREFILL_TOKENS, cache_tokens=0)
        requests = [
            Request(
                ids=[int(i) for i in ids],
                max_new_tokens=config.max_new_tokens,
                stop_ids=config.stop_ids,
                sampling=config.sampling,
                seed=config.seed,
                choice=choice,
                vocab_size=config.vocab_size,
                logprob_temperature=1.0 if is_greedy else config.sampling.temperature,
            )
            for choice, ids in enumerate(prompts if config.max_new_tokens else ())
        ]
        self._rows = [self._batch.add(request) for request in requests]
        self._numbers = {row: number for number, row in enumerate(self._rows)}
        self._reasons: list[FinishReason | None] = [None] * len(prompts)

    def finish(self, row: int) -> None:
        """End a row from outside, for example because its text has reached a stop string."""
        self._reasons[row] = self._reasons[row] or "stop"
        self._batch.cancel(self._rows[row])

    def __next__(self) -> TokenStep:
        if self._batch.idle:
            raise StopIteration
        tokens: list[int | None] = [None] * len(self._reasons)
        logprobs = [0.0] * len(self._reasons)
        for event in self._batch.step():
            number = self._numbers[event.row]
            tokens[number], self._reasons[number] = event.token, event.finish_reason
            if event.logprobs is not None:
                logprobs[number] = event.logprobs.logprob
        return TokenStep(tokens, logprobs, list(self._reasons))
