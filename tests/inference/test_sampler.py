import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from folio.hashing import hash64, uniform
from folio.inference.drawing import CompiledDraw, token_logprobs
from folio.inference.sampler import SampledRow, Sampler
from folio.inference.sampling import RowSampling, SamplingConfig

V = 50


@pytest.fixture(autouse=True, params=["torch", "compiled"])
def either_draw(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in one of the two ways."""
    if request.param == "compiled":
        library = request.getfixturevalue("library")
        monkeypatch.setattr(
            "folio.inference.sampler.TorchDraw", lambda hows, device: CompiledDraw(hows, library)
        )


def sampler_of(
    hows: Sequence[RowSampling], prompt: tuple[int, ...] = (1, 2, 3), written: tuple[int, ...] = ()
) -> Sampler:
    rows = [SampledRow(how, prompt, written) for how in hows]
    return Sampler(rows, V, torch.device("cpu"))


def sampler(
    config: SamplingConfig, rows: int = 4, seed: int = 0, prompt: tuple[int, ...] = (1, 2, 3)
) -> Sampler:
    """A sampler of rows that differ in their choice alone."""
    return sampler_of(
        [RowSampling(sampling=config, seed=seed, choice=choice) for choice in range(rows)], prompt
    )


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(4, V, generator=torch.Generator().manual_seed(0))


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
def test_logprob_is_that_of_the_model_before_all_that_is_asked_of_the_draws(
    temperature: float, logits: Tensor
) -> None:
    config = SamplingConfig(temperature=temperature, top_k=3, top_p=0.9, repetition_penalty=1.5)
    for at in (1.0, 0.5):
        how = RowSampling(
            sampling=config,
            logprob_temperature=at,
            logit_bias={4: 3.0},
            presence_penalty=1,
            frequency_penalty=1,
        )
        draw = sampler_of([how] * 4)
        for _ in range(3):
            tokens, told = draw(logits)
            expected = (logits / at).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor([each.logprob for each in told]), expected)


def test_the_likeliest_are_reported_as_many_as_each_row_asks_for(logits: Tensor) -> None:
    told = sampler_of([RowSampling(top_logprobs=n) for n in (0, 3, 1, V + 5)])(logits)[1]
    assert [len(each.top) for each in told] == [0, 3, 1, V]
    best = logits.log_softmax(-1).sort(descending=True)
    for row, each in enumerate(told):
        assert [token for token, _ in each.top] == best.indices[row, : len(each.top)].tolist()
        assert [logprob for _, logprob in each.top] == pytest.approx(
            best.values[row, : len(each.top)].tolist(), abs=1e-6
        )


def test_how_likely_given_tokens_are(logits: Tensor) -> None:
    tokens = torch.tensor([[3], [7], [0], [49]])
    told = token_logprobs(logits, tokens, [2, 0, 0, 1])
    assert [each.logprob for each in told] == pytest.approx(
        logits.log_softmax(-1).gather(1, tokens)[:, 0].tolist()
    )
    assert [len(each.top) for each in told] == [2, 0, 0, 1]


def test_zero_temperature_takes_the_best(logits: Tensor) -> None:
    tokens, _ = sampler(SamplingConfig(temperature=0.0, top_k=7))(logits)
    assert torch.equal(tokens, logits.argmax(-1))


def test_penalty_counts_what_was_drawn() -> None:
    draw = sampler(SamplingConfig(temperature=0.0, repetition_penalty=100.0), rows=1, prompt=(7,))
    logits = torch.linspace(1, 2, V)[None]
    assert [int(draw(logits)[0]) for _ in range(3)] == [V - 1, V - 2, V - 3]


def greedy(scores: list[float], steps: int, written: tuple[int, ...] = (), **settings: float) -> list[int]:
    """What is drawn at temperature 0 from the same scores of the first tokens; all others have none."""
    logits = torch.full((1, V), -1e9)
    logits[0, : len(scores)] = torch.tensor(scores)
    how = RowSampling(sampling=SamplingConfig(temperature=0.0), **settings)
    draw = sampler_of([how], prompt=(0, 0, 0, 0), written=written)
    return [int(draw(logits)[0]) for _ in range(steps)]


def test_the_presence_penalty_is_taken_once_and_the_frequency_penalty_each_time() -> None:
    """From what the row has written, also before this sampler; never from what the prompt alone has."""
    assert greedy([2.0, 1.5], 6, presence_penalty=0.25) == [0] * 6
    assert greedy([2.0, 1.5], 4, presence_penalty=0.75) == [0, 1, 0, 0]
    assert greedy([2.0, 1.5], 6, frequency_penalty=0.3) == [0, 0, 1, 0, 1, 0]
    assert greedy([2.0, 1.5], 2, written=(0, 0), frequency_penalty=0.3) == [1, 0]
    assert greedy([2.0, 1.5], 1, written=(0,), presence_penalty=0.75) == [1]
    assert greedy([2.0, 1.5], 3, presence_penalty=-1.0) == [0] * 3


def test_a_bias_is_added_to_the_scores(logits: Tensor) -> None:
    hows = [RowSampling(choice=row, logit_bias={9: 100.0} if row == 1 else {}) for row in range(4)]
    banned = RowSampling(logit_bias={token: -1000.0 for token in range(V) if token != 30})
    free = sampler_of([RowSampling(choice=row) for row in range(4)])
    biased, other = sampler_of(hows), sampler_of([banned] * 4)
    for _ in range(50):
        tokens = biased(logits)[0]
        assert tokens[1] == 9
        assert torch.equal(tokens[[0, 2, 3]], free(logits)[0][[0, 2, 3]])
        assert other(logits)[0].tolist() == [30] * 4


MIXED = [
    RowSampling(),
    RowSampling(sampling=SamplingConfig(temperature=0.0)),
    RowSampling(sampling=SamplingConfig(temperature=0.7, top_k=5), seed=3),
    RowSampling(sampling=SamplingConfig(top_p=0.7), choice=2),
    RowSampling(sampling=SamplingConfig(temperature=1.3, top_k=5, top_p=0.9), vocab_size=20),
    RowSampling(sampling=SamplingConfig(min_p=0.1, repetition_penalty=1.3), presence_penalty=0.5),
    RowSampling(vocab_size=20, logit_bias={3: 2.0}, top_logprobs=2),
    RowSampling(sampling=SamplingConfig(top_k=7), frequency_penalty=0.5, logprob_temperature=0.5),
]


def test_rows_of_all_kinds_together_give_what_each_gives_alone() -> None:
    """To the last bit: all operations are the same for a row whatever is beside it."""
    logits = 3 * torch.randn(100, len(MIXED), V, generator=torch.Generator().manual_seed(0))
    together = sampler_of(MIXED)
    alone = [sampler_of([how]) for how in MIXED]
    for step in logits:
        tokens, told = together(step)
        for row, draw in enumerate(alone):
            token, own = draw(step[row : row + 1])
            assert (int(tokens[row]), told[row]) == (int(token), own[0])


def test_tokens_beyond_the_vocabulary_asked_for_are_never_drawn() -> None:
    logits = torch.zeros(len(MIXED), V)
    logits[:, 20:] = 5.0
    draw = sampler_of(MIXED)
    drawn = torch.stack([draw(logits)[0] for _ in range(100)])
    assert drawn[:, [4, 6]].max() < 20 <= drawn[:, 0].max()


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


def test_a_new_sampler_draws_on_where_the_last_one_ended(logits: Tensor) -> None:
    """As when a row leaves: all that a draw depends on is in the rows."""
    rows = [
        SampledRow(RowSampling(sampling=SamplingConfig(repetition_penalty=1.2), choice=row), (1, 2, 3), [])
        for row in range(4)
    ]
    whole = Sampler(rows, V, torch.device("cpu"))
    kept = [3, 0]
    for step in range(60):
        tokens = whole(logits)[0].tolist()
        if step in (10, 45):
            part = Sampler([rows[row] for row in kept], V, torch.device("cpu"))
        if step >= 10:
            assert part(logits[kept])[0].tolist() == [tokens[row] for row in kept]
        for row, token in zip(rows, tokens, strict=True):
            row.written.append(token)


def test_a_draw_is_that_of_a_number_of_seed_choice_and_place_alone() -> None:
    """The number is the share of the cumulative probability at which the token is taken."""
    seeds, choices = [7, 2**64 - 1, 0], [0, 5, 2**31]
    hows = [RowSampling(seed=seed, choice=choice) for seed, choice in zip(seeds, choices, strict=True)]
    draw = sampler_of(hows)
    for place in range(40):
        tokens = draw(torch.zeros(3, V))[0]
        for row, (seed, choice) in enumerate(zip(seeds, choices, strict=True)):
            u = float(uniform(hash64(seed, np.array(choice)), np.array(place)))
            assert int(tokens[row]) == pytest.approx(
                math.ceil(u * V) - 1, abs=1e-3 * V if u * V % 1 < 1e-3 else 0
            )


def test_tokens_of_no_probability_are_never_drawn() -> None:
    logits = torch.full((4, V), -torch.inf)
    logits[:, 20] = 0.0
    draw = sampler(SamplingConfig())
    assert all((draw(logits)[0] == 20).all() for _ in range(200))


def test_logits_that_are_no_numbers_are_not_drawn_from() -> None:
    logits = torch.zeros(2, V)
    logits[1, 3] = torch.nan
    with pytest.raises(FloatingPointError, match="not numbers"):
        sampler(SamplingConfig(temperature=0.0), rows=2)(logits)
