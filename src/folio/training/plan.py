"""Choose model and batch sizes for a run from the amount of text, the machine's speed and the time limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from folio.config import Count, Decay, Few, Many, Settings
from folio.errors import UserError
from folio.model.config import GPTConfig
from folio.training.spacing import EVALUATIONS

WIDTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Widths to choose from; the depth follows. The constants below work well but are not tuned, except for the
Shakespeare recipe (benchmarks/README.md)."""
TOKENS_PER_PARAMETER = 0.7
"""Training tokens per parameter, as in the Shakespeare recipe (1.9 M and 2.7 M). This is far below the 20 that are
optimal for large models (Hoffmann et al., 2022): in minutes, a wider model is worth its cost per character."""
PARAMETERS_PER_TOKEN_OF_TEXT = 3.0
"""Maximum number of parameters per token of training text; larger models only memorize it sooner."""
TOKENS_PER_STEP = {"cpu": 2048, "mps": 8192, "cuda": 32768}
"""By device: small steps learn more per token, large ones keep a GPU busy. Only the value for the CPU was measured."""
MLP_WIDTHS = {"swiglu": 8 / 3, "gelu": 4.0, "gelu_exact": 4.0}
"""Hidden size of a feed-forward layer as a multiple of the width C; both give 8 C^2 parameters."""
DOUBT = 2
"""How many times too high the estimate of the memory may be: sizes that need more than this are refused."""
MAX_BLOCK_SIZE = 256
MAX_EPOCHS = 40
"""Maximum number of epochs, whatever the time limit; more would memorize the text."""


@dataclass(frozen=True, kw_only=True)
class SizeConfig(Settings):
    """Sizes of model and batch; those not given are chosen from the text, the machine and the time limit."""

    n_layer: Few | None = None
    """Transformer blocks."""
    n_head: Few | None = None
    """Query heads of each block."""
    n_kv_head: Few | None = None
    """Key and value heads of each block; fewer than n_head is grouped-query attention."""
    n_embd: Many | None = None
    """Width of the residual stream."""
    mlp_size: Many | None = None
    """Width inside the feed-forward layers."""
    block_size: Many | None = None
    """Context length in tokens."""
    dropout: Decay | None = None
    """Dropout on the residual stream."""
    micro_batch_size: Many | None = None
    """Sequences per forward pass; fewer need less memory."""
    tokens_per_step: Count | None = None
    """Tokens per optimizer step, in several micro-batches if necessary."""
    steps: Count | None = None
    """Optimizer steps."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The chosen sizes of a run."""

    model: GPTConfig
    micro_batch_size: int
    accumulation: int
    """Micro-batches per step."""
    steps: int = 0
    """Optimizer steps; 0 until the duration of a step is known."""
    validation_windows: int = 0
    """Windows of an evaluation, evenly spread over the validation text; 0 for all of it."""
    evaluations: int = EVALUATIONS
    """Evaluations in the run, evenly spread; a checkpoint comes before each."""

    @property
    def tokens_per_step(self) -> int:
        return self.micro_batch_size * self.accumulation * self.model.block_size

    @property
    def total_tokens(self) -> int:
        return self.steps * self.tokens_per_step

    def efficiency(self, step_seconds: float, flops_per_second: float) -> float:
        """Return the speed of training, by which `choose_plan` chooses, relative to `flops_per_second`."""
        return 6 * _weights(self.model.n_embd) * self.tokens_per_step / step_seconds / flops_per_second

    def memory(self) -> int:
        """Estimate the peak memory of training in bytes, without Python and torch themselves.

        Counts weights, gradients and two moments in float32; activations kept for the backward pass, about
        12 C + 4 M per token and block; logits, their gradient and softmax.
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
    """Return a plan with the sizes that are given, and choose the others.

    parts: GPTConfig fields of the architecture. n_train, n_validation: tokens of text. flops: floating-point operations
    of training in the time limit. free_memory: in bytes. device_type: a key of TOKENS_PER_STEP.
    """
    block_size = size.block_size or _block_size(n_train, n_validation)
    # C = 6 P D and D = r P, so P = sqrt(C / 6 r).
    wanted = min(math.sqrt(flops / 6 / TOKENS_PER_PARAMETER), PARAMETERS_PER_TOKEN_OF_TEXT * n_train)
    width = size.n_embd or min(WIDTHS, key=lambda width: abs(math.log(_weights(width) / wanted)))
    head_size = _head_size(width, size.n_head)
    n_head = size.n_head or width // head_size
    n_layer = size.n_layer or _depth(width)
    batch = max(1, round((size.tokens_per_step or TOKENS_PER_STEP[device_type]) / block_size))
    trained = size.steps * batch * block_size if size.steps else flops / (6 * _weights(width))
    config = GPTConfig(
        vocab_size=vocab_size,
        block_size=block_size,
        n_layer=n_layer,
        n_head=n_head,
        n_kv_head=size.n_kv_head or n_head,
        n_embd=width,
        head_size=head_size,
        mlp_size=size.mlp_size or _round_to(MLP_WIDTHS[str(parts["mlp"])] * width, 64),
        dropout=_dropout(trained / n_train) if size.dropout is None else size.dropout,
        **parts,  # type: ignore[arg-type]
    )
    micro_batch_size = size.micro_batch_size or batch

    def plan() -> Plan:
        accumulation = math.ceil(batch / micro_batch_size)
        return Plan(
            model=config, micro_batch_size=micro_batch_size, accumulation=accumulation, steps=size.steps or 0
        )

    while size.micro_batch_size is None and plan().memory() > free_memory and micro_batch_size > 1:
        micro_batch_size = math.ceil(micro_batch_size / 2)
    return plan()


def require_memory(plan: Plan, free_memory: float) -> None:
    """Raise UserError for sizes that need far more memory than is free, in bytes."""
    if plan.memory() > DOUBT * free_memory:
        model = plan.model
        raise UserError(
            f"these sizes need about {plan.memory() / 1e9:,.1f} GB of memory, and {free_memory / 1e9:,.1f} GB are free: make "
            f"the model (n_layer {model.n_layer:,}, n_embd {model.n_embd:,}, vocab_size {model.vocab_size:,}) smaller, or "
            f"micro_batch_size ({plan.micro_batch_size:,}) or block_size ({model.block_size:,})."
        )


def explain_plan(size: SizeConfig, plan: Plan, n_train: int, seconds: float) -> str:
    """Return the reasons for the chosen sizes as text, or "" if all were given. seconds: for which they were chosen."""
    reasons = []
    if size.n_embd is None:
        is_large = _weights(plan.model.n_embd) > PARAMETERS_PER_TOKEN_OF_TEXT * n_train / 2
        limit = (
            "the text: a larger model would only memorize it"
            if is_large
            else f"{seconds / 60:g} minutes on this machine"
        )
        reasons.append(f"sized for {limit}")
    if size.dropout is None and plan.model.dropout:
        epochs = plan.total_tokens / n_train
        reasons.append(f"dropout {plan.model.dropout:g}, as the text is read {epochs:.1f} times")
    if size.block_size is None and plan.model.block_size < MAX_BLOCK_SIZE:
        reasons.append(f"context {plan.model.block_size}, as the text is short")
    return "; ".join(reasons)


def most_steps(plan: Plan, n_train: int) -> int:
    """Return the number of steps of MAX_EPOCHS epochs. n_train: tokens of text."""
    return math.ceil(MAX_EPOCHS * n_train / plan.tokens_per_step)


def _weights(width: int) -> int:
    """Return the number of parameters in the blocks of a Llama-like model of a width."""
    return _depth(width) * 12 * width * width


def _depth(width: int) -> int:
    """Return the number of blocks for a width: 2 at 64, 6 at 192, 12 at 768."""
    return max(2, min(round(width / 32), 6 + width // 128))


def _head_size(width: int, n_head: int | None) -> int:
    if n_head is None:
        return next(size for size in (64, 32, *range(62, 0, -2), 1) if width % size == 0)
    if width % n_head:
        raise UserError(f"n_embd ({width}) must be a multiple of n_head ({n_head}).")
    return width // n_head


def _block_size(n_train: int, n_validation: int) -> int:
    """Return MAX_BLOCK_SIZE, or for a short text a power of two that leaves several windows in each part."""
    longest = min(n_train // 8, n_validation // 2)
    return max(8, min(MAX_BLOCK_SIZE, 2 ** int(math.log2(max(8, longest)))))


def _dropout(epochs: float) -> float:
    """Return the dropout for a number of epochs: none for few, more for many."""
    return 0.0 if epochs < 5 else 0.1 if epochs < 12 else 0.2


def _round_to(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
