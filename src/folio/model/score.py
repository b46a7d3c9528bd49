"""One number for each position: what a reward model gives a text, and a critic expects of it."""

from __future__ import annotations

from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.model.linear import Linear
from folio.model.transformer import Transformer


class ScoreModel(Transformer):
    """A transformer with a scalar head. A reward model is read at a text's last token, a critic at each.

    Its head starts from N(0, 1 / sqrt(C + 1)), as in Stiennon et al. (2020); it has no bias, which a comparison of
    two scores could not learn. On disk it is a `*ForSequenceClassification` with one label.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.score = Linear(config.n_embd, 1, bias=False)
        nn.init.normal_(self.score.weight, std=(config.n_embd + 1) ** -0.5)
        self.mean = 0.0
        """Of the scores that it gave to reference texts, which is taken off: 0 then means no better than usual."""

    @classmethod
    def like(cls, model: Transformer) -> ScoreModel:
        """One that reads as `model` does, with its weights copied; only the head is new."""
        scorer = cls(model.config)
        heads = ("head.", "score.")
        copied = {name: value for name, value in model.state_dict().items() if not name.startswith(heads)}
        scorer.load_state_dict({"score.weight": scorer.score.weight, **copied})
        scorer.compute_dtype = model.compute_dtype
        return scorer

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Scores of the text up to each position. ids: (B, T) -> (B, T) float32."""
        return self.scores(self.hidden(ids, segments=segments))

    def scores(self, top: Tensor) -> Tensor:
        """Scores where the residual stream has come to `top`: (..., C) -> (...) float32."""
        given: Tensor = self.score(top)  # (..., 1)
        return given[..., 0].float() - self.mean


class ActorCritic(nn.Module):
    """A policy and the critic that learns beside it, as one module to train."""

    def __init__(self, policy: GPT, critic: ScoreModel) -> None:
        super().__init__()
        self.policy = policy
        self.critic = critic
