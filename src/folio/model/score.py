"""Score models: one number for each position, as reward models and critics give."""

from __future__ import annotations

from torch import Tensor, nn

from folio.model.config import GPTConfig
from folio.model.context import Context
from folio.model.gpt import GPT
from folio.model.linear import Linear
from folio.model.transformer import Transformer


class ScoreModel(Transformer):
    """A transformer with a scalar head. A reward model is read at a text's last token, a critic at each token.

    The head starts from N(0, 1 / sqrt(C + 1)), as in Stiennon et al. (2020). It has no bias, which a comparison of two
    scores could not learn. On disk it is a `*ForSequenceClassification` with one label.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.score = Linear(config.n_embd, 1, bias=False)
        nn.init.normal_(self.score.weight, std=(config.n_embd + 1) ** -0.5)
        self.score_mean = 0.0
        """Mean held-out score, subtracted from every score."""

    @classmethod
    def like(cls, model: Transformer) -> ScoreModel:
        """Return a score model with copies of a model's weights and a new head."""
        scorer = cls(model.config)
        heads = ("head.", "score.")
        copied = {name: value for name, value in model.state_dict().items() if not name.startswith(heads)}
        scorer.load_state_dict({"score.weight": scorer.score.weight, **copied})
        scorer.compute_dtype = model.compute_dtype
        return scorer

    def forward(self, ids: Tensor, context: Context | None = None) -> Tensor:
        """Return the score of the text up to each position. ids: (B, T) int64 -> (B, T) float32.

        context: see `hidden_states`.
        """
        return self.scores(self.hidden_states(ids, context))

    def scores(self, hidden_states: Tensor) -> Tensor:
        """Apply the head to final hidden states: (..., C) -> (...) float32."""
        raw: Tensor = self.score(hidden_states)  # (..., 1)
        return raw[..., 0].float() - self.score_mean


class ActorCritic(nn.Module):
    """A policy and its critic as one module to train."""

    def __init__(self, policy: GPT, critic: ScoreModel) -> None:
        super().__init__()
        self.policy = policy
        self.critic = critic
