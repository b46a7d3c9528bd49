import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from folio.rl.advantages import gae, group_advantages, scale_by_group_std, token_rewards, whiten


def stretch(lengths, starts, T):
    """A mask with one stretch of ones in each row."""
    columns = torch.arange(T)
    lengths, starts = torch.tensor(lengths)[:, None], torch.tensor(starts)[:, None]
    return ((columns >= starts) & (columns < starts + lengths)).float()


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_its_definition(seed, gamma, gae_lambda):
    """A_t is the sum of (gamma lambda)^k d_t+k over what is left of the completion (equation 16)."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 6, generator=generator)
    starts, lengths = [0, 2, 5], [6, 3, 1]
    mask = stretch(lengths, starts, 6)
    advantages, returns = gae(rewards, values, mask, gamma=gamma, gae_lambda=gae_lambda)
    for b in range(3):
        tokens = range(starts[b], starts[b] + lengths[b])
        after = {t: values[b, t + 1].item() if t + 1 in tokens else 0.0 for t in tokens}
        deltas = {t: rewards[b, t].item() + gamma * after[t] - values[b, t].item() for t in tokens}
        for t in range(6):
            expected = (
                sum((gamma * gae_lambda) ** (i - t) * deltas[i] for i in tokens if i >= t)
                if t in tokens
                else 0
            )
            assert advantages[b, t].item() == pytest.approx(expected, abs=1e-5)
            assert returns[b, t].item() == pytest.approx(
                expected + values[b, t].item() if t in tokens else 0, abs=1e-5
            )


def test_with_lambda_one_the_returns_are_what_came():
    rewards, values = torch.randn(2, 2, 5)
    mask = stretch([5, 3], [0, 1], 5)
    _, returns = gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0)
    torch.testing.assert_close(returns[0], rewards[0].flip(0).cumsum(0).flip(0))
    torch.testing.assert_close(returns[1, 1], rewards[1, 1:4].sum())


def test_the_score_comes_with_the_last_token():
    mask = stretch([2, 4, 1], [1, 0, 3], 4)
    logprobs, ref_logprobs = torch.randn(2, 3, 4)
    rewards = token_rewards(torch.tensor([10.0, 20.0, 30.0]), logprobs, ref_logprobs, mask, kl_coef=0.5)
    expected = -0.5 * (logprobs - ref_logprobs) * mask
    for row, (column, score) in enumerate([(2, 10.0), (3, 20.0), (3, 30.0)]):
        expected[row, column] += score
    torch.testing.assert_close(rewards, expected)


def test_whitening_looks_at_what_counts():
    values, mask = 5 + 3 * torch.randn(4, 8), stretch([8, 3, 5, 1], [0, 2, 1, 7], 8)
    values[mask == 0] = 1e6
    for mean, expected in ((0.0, 0.0), (None, values[mask == 1].mean().item())):
        counted = whiten(values, mask, mean=mean)[mask == 1]
        assert counted.mean().item() == pytest.approx(expected, abs=1e-4)
        assert counted.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)
        assert (whiten(values, mask, mean=mean)[mask == 0] == 0).all()


def test_a_completion_is_compared_with_its_group():
    scores = torch.tensor([1.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0])
    advantages = group_advantages(scores, 4)
    torch.testing.assert_close(advantages[:4], torch.tensor([0.75, -0.25, -0.25, -0.25]))
    scaled = scale_by_group_std(advantages, 4)
    torch.testing.assert_close(scaled[:4], torch.tensor([1.5, -0.5, -0.5, -0.5]))
    assert (advantages[4:] == 0).all()
    assert (scaled[4:] == 0).all()
    equal = group_advantages(torch.full((7,), 0.7), 7)  # whose rounded mean is not 0.7
    assert (scale_by_group_std(equal, 7) == 0).all()
    with pytest.raises(ValueError, match="another"):
        group_advantages(scores, 1)
