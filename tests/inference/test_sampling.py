import math

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from folio.errors import UserError
from folio.hashing import hash64, uniform
from folio.inference.sampling import Draws, Sampler, SamplingConfig

V = 50


def sampler(
    config: SamplingConfig, rows: int = 4, seed: int = 0, prompt: tuple[int, ...] = (1, 2, 3)
) -> Sampler:
    return Sampler(config, seed, [prompt] * rows, V, torch.device("cpu"))


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(4, V, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", x) for x in (-0.1, math.nan, math.inf)],
        ("top_k", 0),
        *[("top_p", x) for x in (0.0, 1.1, math.nan)],
        *[("min_p", x) for x in (-0.1, 1.0, math.nan)],
        *[("repetition_penalty", x) for x in (0.0, -1.0, math.nan)],
    ],
)
def test_values_outside_their_range_are_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{name} is {value}: it must be .*\.$"):
        SamplingConfig(**{name: value})


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(),
        SamplingConfig(temperature=0.7),
        SamplingConfig(top_k=5),
        SamplingConfig(top_k=1000),
        SamplingConfig(top_p=0.6),
        SamplingConfig(top_p=1e-6),
        SamplingConfig(min_p=0.1),
        SamplingConfig(repetition_penalty=1.7),
        SamplingConfig(repetition_penalty=0.6),
        SamplingConfig(temperature=1.4, top_k=20, top_p=0.8, min_p=0.05, repetition_penalty=1.3),
    ],
)
def test_draws_follow_the_distribution_of_transformers(config: SamplingConfig, logits: Tensor) -> None:
    hf = transformers
    processors = [
        hf.RepetitionPenaltyLogitsProcessor(config.repetition_penalty),
        hf.TemperatureLogitsWarper(config.temperature),
        hf.TopKLogitsWarper(config.top_k or V),
        hf.TopPLogitsWarper(config.top_p),
        hf.MinPLogitsWarper(config.min_p),
    ]
    expected, seen = logits, torch.tensor([[1, 2, 3]] * 4)
    for processor in processors:
        expected = processor(seen, expected)
    n = 5000
    for scores, truth in zip(logits, expected.softmax(-1), strict=True):
        tokens, _ = sampler(config, rows=n)(scores.expand(n, V))
        share = torch.bincount(tokens, minlength=V) / n
        assert share[truth == 0].sum() == 0
        # Five standard deviations of a binomial share.
        assert ((share - truth).abs() <= 5 * (truth * (1 - truth) / n).sqrt() + 1 / n).all()


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_logprob_is_that_of_the_policy_before_truncation(temperature: float, logits: Tensor) -> None:
    draw = sampler(SamplingConfig(temperature=temperature, top_k=3, top_p=0.9, repetition_penalty=1.5))
    tokens, logprobs = draw(logits)
    policy = (logits / (temperature or 1.0)).log_softmax(-1)
    torch.testing.assert_close(logprobs, policy.gather(1, tokens[:, None])[:, 0])


def test_zero_temperature_takes_the_best(logits: Tensor) -> None:
    tokens, _ = sampler(SamplingConfig(temperature=0.0, top_k=7))(logits)
    assert torch.equal(tokens, logits.argmax(-1))


def test_penalty_counts_what_was_drawn() -> None:
    draw = sampler(SamplingConfig(temperature=0.0, repetition_penalty=100.0), rows=1, prompt=(7,))
    logits = torch.linspace(1, 2, V)[None]
    assert [int(draw(logits)[0]) for _ in range(3)] == [V - 1, V - 2, V - 3]


def test_a_row_draws_the_same_whatever_is_beside_it(logits: Tensor) -> None:
    config, same = SamplingConfig(), logits[:1].expand(4, V)
    alone, batch, again, other = (
        sampler(config, rows, seed) for rows, seed in ((1, 5), (4, 5), (4, 5), (4, 6))
    )
    texts = torch.stack([batch(same)[0] for _ in range(100)])
    assert torch.equal(texts, torch.stack([again(same)[0] for _ in range(100)]))
    assert torch.equal(texts[:, :1], torch.stack([alone(same[:1])[0] for _ in range(100)]))
    assert not torch.equal(texts, torch.stack([other(same)[0] for _ in range(100)]))
    assert len({tuple(row.tolist()) for row in texts.T}) == 4


def test_rows_that_are_selected_draw_on(logits: Tensor) -> None:
    config = SamplingConfig(repetition_penalty=1.2)
    whole, part = sampler(config), sampler(config)
    rows = torch.tensor([0, 3])
    for step in range(100):
        tokens = whole(logits)[0]
        if step == 10:
            part.select_rows(rows)
        assert torch.equal(
            part(logits if step < 10 else logits[rows])[0], tokens if step < 10 else tokens[rows]
        )


def test_a_number_depends_on_its_rows_key_and_place_alone() -> None:
    keys = hash64(7, np.arange(6))
    whole = Draws(keys, torch.device("cpu"))
    numbers = torch.cat([whole.next() for _ in range(200)], dim=1)
    assert torch.equal(numbers, torch.from_numpy(uniform(keys[:, None], np.arange(200))))
    part = Draws(keys[1:], torch.device("cpu"))
    for step in range(200):
        if step == 70:
            part.select_rows(torch.tensor([4, 1]))
        rows = [1, 2, 3, 4, 5] if step < 70 else [5, 2]
        assert torch.equal(part.next(), numbers[rows, step : step + 1])


def test_tokens_of_no_probability_are_never_drawn() -> None:
    logits = torch.full((4, V), -torch.inf)
    logits[:, 20] = 0.0
    draw = sampler(SamplingConfig())
    assert all((draw(logits)[0] == 20).all() for _ in range(200))
