"""Sizes for a run, from how much text there is, how fast the machine is, and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from folio.config import Count, Settings
from folio.errors import UserError
from folio.model.config import GPTConfig

WIDTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Widths to choose from; depth follows. The numbers below are choices that have worked, not optima: only the
Shakespeare recipe has been measured (benchmarks/README.md)."""
TOKENS_PER_PARAMETER = 0.7
"""Training tokens for each weight, as in the Shakespeare recipe (1.9 M and 2.7 M). Far below the 20 of large
models (Hoffmann et al., 2022): in minutes, a wide model learns more from each character than it costs."""
PARAMETERS_PER_TOKEN_OF_TEXT = 3.0
"""No more weights than this for each token of training text: more only memorise it sooner."""
TOKENS_PER_STEP = {"cpu": 2048, "mps": 8192, "cuda": 32768}
"""By device: small steps learn more from each token, and large ones keep a GPU busy. Only that of the CPU was measured."""
MLP_WIDTHS = {"swiglu": 8 / 3, "gelu": 4.0}
"""Insides of a feed-forward layer, in widths: both come to 8 C^2 weights."""
EFFICIENCY = 0.5
"""Share of a matrix product's speed that a training step reaches, until it has been measured."""
LONGEST_BLOCK = 256
MAX_EPOCHS = 40
"""A text is read no more often than this, however many minutes there are: it would be learned by heart."""


@dataclass(frozen=True, kw_only=True)
class SizeConfig(Settings):
    """Sizes of model and batch. What is left out is chosen from the text, the machine and the minutes."""

    n_layer: Count | None = None
    """Transformer blocks."""
    n_head: Count | None = None
    """Query heads of each block."""
    n_kv_head: Count | None = None
    """Key and value heads of each block; fewer than n_head is grouped-query attention."""
    n_embd: Count | None = None
    """Width of the residual stream."""
    mlp_size: Count | None = None
    """Width inside the feed-forward layers."""
    block_size: Count | None = None
    """Context length in tokens."""
    dropout: Annotated[float, Ge(0), Lt(1)] | None = None
    """Dropout on the residual stream."""
    micro_batch_size: Count | None = None
    """Sequences per forward pass; fewer need less memory."""
    tokens_per_step: Count | None = None
    """Tokens per optimizer step, in several micro-batches where need be."""
    steps: Count | None = None
    """Optimizer steps."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's sizes, decided."""

    model: GPTConfig
    micro_batch_size: int
    accumulation: int
    """Micro-batches in a step."""
    steps: int = 0
    """Steps of the run; 0 as long as nobody knows how long one takes."""

    @property
    def tokens_per_step(self) -> int:
        return self.micro_batch_size * self.accumulation * self.model.block_size

    @property
    def total_tokens(self) -> int:
        return self.steps * self.tokens_per_step

    def memory(self) -> int:
        """Estimated peak bytes of training, on top of what Python and torch take.

        Weights, gradients and two moments in float32; what a block keeps for the backward pass (some
        12 C + 4 M numbers a token); logits, their gradient and softmax.
        """
        config = self.model
        per_layer = 2 * config.n_embd * (config.n_head + config.n_kv_head) * config.head_size
        weights = config.n_layer * (per_layer + 3 * config.n_embd * config.mlp_size)
        weights += 2 * config.vocab_size * config.n_embd
        tokens = self.micro_batch_size * config.block_size
        kept = config.n_layer * (12 * config.n_embd + 4 * config.mlp_size) + 3 * config.vocab_size
        return 4 * (4 * weights + tokens * kept)


def choose_plan(
    size: SizeConfig,
    parts: dict[str, object],
    *,
    vocab_size: int,
    n_train: int,
    n_validation: int,
    flops: float,
    free_memory: float,
    device_type: str = "cpu",
) -> Plan:
    """Fill in what `size` leaves open.

    parts: further GPTConfig fields (an architecture's). n_train, n_validation: tokens of text. flops:
    operations that the run may spend. free_memory: bytes it may use. device_type:
    a key of TOKENS_PER_STEP.
    """
    block_size = size.block_size or _block_size(n_train, n_validation)
    # C = 6 P D and D = r P, so P = sqrt(C / 6 r).
    wanted = min(
        math.sqrt(flops * EFFICIENCY / 6 / TOKENS_PER_PARAMETER), PARAMETERS_PER_TOKEN_OF_TEXT * n_train
    )
    width = size.n_embd or min(WIDTHS, key=lambda width: abs(math.log(_weights(width) / wanted)))
    head_size = _head_size(width, size.n_head)
    n_head = size.n_head or width // head_size
    n_layer = size.n_layer or _depth(width)
    epochs = min(MAX_EPOCHS, flops * EFFICIENCY / (6 * _weights(width)) / n_train)
    config = GPTConfig(
        vocab_size=vocab_size,
        block_size=block_size,
        n_layer=n_layer,
        n_head=n_head,
        n_kv_head=size.n_kv_head or n_head,
        n_embd=width,
        head_size=head_size,
        mlp_size=size.mlp_size or _round_to(MLP_WIDTHS[str(parts["mlp"])] * width, 64),
        dropout=_dropout(epochs) if size.dropout is None else size.dropout,
        **parts,  # type: ignore[arg-type]
    )
    batch = max(1, round((size.tokens_per_step or TOKENS_PER_STEP[device_type]) / block_size))
    micro_batch_size = size.micro_batch_size or batch

    def plan() -> Plan:
        accumulation = math.ceil(batch / micro_batch_size)
        return Plan(
            model=config, micro_batch_size=micro_batch_size, accumulation=accumulation, steps=size.steps or 0
        )

    while size.micro_batch_size is None and plan().memory() > free_memory and micro_batch_size > 1:
        micro_batch_size = math.ceil(micro_batch_size / 2)
    return plan()


def explain_plan(size: SizeConfig, plan: Plan, n_train: int, flops: float) -> str:
    """Why the sizes that were left open are what they are, in words."""
    why = []
    if size.n_embd is None:
        bound = PARAMETERS_PER_TOKEN_OF_TEXT * n_train
        paid = math.sqrt(flops * EFFICIENCY / 6 / TOKENS_PER_PARAMETER)
        limit = "the time would pay for more" if paid > bound else "the text would carry more"
        why.append(
            f"some {min(paid, bound) / 1e6:.2g} M weights, as {limit} "
            f"({paid / 1e6:.2g} M for the time, {bound / 1e6:.2g} M for the text)"
        )
    if size.dropout is None:
        reads = f"the text is read some {flops * EFFICIENCY / (6 * _weights(plan.model.n_embd)) / n_train:.0f} times"
        why.append(f"dropout {plan.model.dropout:g}, as {reads}, and {MAX_EPOCHS} at most")
    if size.block_size is None and plan.model.block_size < LONGEST_BLOCK:
        why.append(f"context {plan.model.block_size}, as the validation text is short")
    return "; ".join(why)


def choose_steps(plan: Plan, n_train: int, seconds: float, step_seconds: float) -> int:
    """Steps that fit into `seconds`, but no more than MAX_EPOCHS readings of the text."""
    readings = math.ceil(MAX_EPOCHS * n_train / plan.tokens_per_step)
    return max(1, int(min(seconds / step_seconds, readings)))


def _weights(width: int) -> int:
    """Weights in the blocks of a Llama-shaped model of that width."""
    return _depth(width) * 12 * width * width


def _depth(width: int) -> int:
    """Blocks for a width: 2 at 64, 6 at 192, 12 at 768."""
    return max(2, min(round(width / 32), 6 + width // 128))


def _head_size(width: int, n_head: int | None) -> int:
    if n_head is None:
        return next(size for size in (64, 32, *range(62, 0, -2), 1) if width % size == 0)
    if width % n_head:
        raise UserError(f"n_embd ({width}) must be a multiple of n_head ({n_head}).")
    return width // n_head


def _block_size(n_train: int, n_validation: int) -> int:
    """256, or for a short text the power of two that leaves a few windows to train and validate on."""
    longest = min(n_train // 8, n_validation // 2)
    return max(8, min(LONGEST_BLOCK, 2 ** int(math.log2(max(8, longest)))))


def _dropout(epochs: float) -> float:
    """None for a text that is read a few times, more for one that is read often."""
    return 0.0 if epochs < 5 else 0.1 if epochs < 12 else 0.2


def _round_to(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
