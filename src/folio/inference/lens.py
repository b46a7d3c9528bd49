"""The logit lens: what a model would predict if it stopped after each layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from folio.inference.inspection import Ids, checked_ids
from folio.model.gpt import GPT
from folio.objectives.logprobs import token_logprobs


@dataclass(frozen=True)
class LogitLens:
    """Predictions from the residual stream: in row 0 from the embedding, in row n after n layers.

    The last row is the model's own prediction. All tensors are float32 on the CPU.

    logprobs: (L + 1, V), ln p of every token to follow the text.
    losses:   (L + 1, T - 1), -ln p in nats of each token but the first, which nothing predicts.
    """

    logprobs: Tensor
    losses: Tensor


@torch.inference_mode()
def logit_lens(model: GPT, ids: Ids) -> LogitLens:
    """Read tokens, and apply the final norm and the head to the residual stream after each layer (nostalgebraist, 2020).

    Args:
        model: in evaluation mode, or its dropout acts.
        ids: (T) token ids, 1 <= T <= block_size: a list, an array or a tensor.

    Raises:
        UserError: for no tokens, more than the model reads at once, or an id that it does not have.
    """
    read = checked_ids(model, ids, "logit_lens", 1)
    with torch.compiler.set_stance("force_eager"), _recorded_streams(model) as streams:
        model.hidden_states(read[None])
    logprobs, losses = [], []
    for stream in streams:  # one at a time: (L + 1, T, V) may be large
        logits = model.head(model.norm(stream))  # (1, T, C) -> (1, T, V)
        logprobs.append(logits[0, -1].float().log_softmax(-1).cpu())
        losses.append(-token_logprobs(logits[:, :-1], read[None, 1:])[0].cpu())
    return LogitLens(torch.stack(logprobs), torch.stack(losses))


@contextmanager
def _recorded_streams(model: GPT) -> Iterator[list[Tensor]]:
    """Collect the residual stream (B, T, C) as each block, and the final norm, is given it by passes in the block."""
    streams: list[Tensor] = []
    with ExitStack() as hooks:
        for part in (*model.blocks, model.norm):
            hooks.enter_context(part.register_forward_pre_hook(lambda _, given: streams.append(given[0])))
        yield streams
