"""Reading a prompt once for all its answers is reading each text alone: the same scores, the same gradients."""

from dataclasses import replace

import pytest
import torch

from folio.batch import Completions
from folio.model.shared_prefix import SharedPrefixBatch

A, B, C = [5, 9, 2, 7], [5, 9], [30]
PAIRS = [
    (A, [11, 3, 8, 60, 2]),
    (B, [2, 7, 11]),  # what follows a prompt may be how another goes on
    (A, [40]),  # of a single token, which nothing is read for
    (C, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    (A, [11, 3, 8, 60, 2]),  # the same answer again
    (B, [12, 13]),
    (C, [31]),
    (A, [9, 9, 9, 9, 9, 9, 9]),
    *(([10 + i, 11], [12 + i] * (i + 1)) if i % 2 else (C, [20 + i] * 4) for i in range(8)),
]
PAD = 96


@pytest.fixture
def batch():
    return Completions.from_pairs(PAIRS, PAD)


def together(model, batch):
    """The scores of each sampled token when all are read in one row: (M, V)."""
    return model.head(SharedPrefixBatch.from_completions(batch).hidden_states(model))


def one_by_one(model):
    """The scores of each sampled token when each text is read alone: (M, V)."""
    return torch.cat(
        [model(torch.tensor([[*prompt, *answer]]))[0, len(prompt) - 1 : -1] for prompt, answer in PAIRS]
    )


@pytest.mark.parametrize("training", [False, True])
def test_scores_and_gradients_are_those_of_each_text_alone(model, batch, training):
    model.train(training)
    weights = torch.randn(97, generator=torch.Generator().manual_seed(3))
    found, expected = together(model, batch), one_by_one(model)
    assert SharedPrefixBatch.from_completions(batch).targets.tolist() == [
        token for _, answer in PAIRS for token in answer
    ]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    gradients = []
    for logits in (found, expected):
        model.zero_grad()
        # Uneven, so that no token's part is lost in that of others.
        (logits.log_softmax(-1) @ weights).dot(torch.arange(1.0, len(logits) + 1)).div(len(logits)).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-4, msg=name)


def test_each_token_is_read_once_and_none_in_vain(batch):
    shared = SharedPrefixBatch.from_completions(batch)
    prompts = {tuple(prompt) for prompt, _ in PAIRS}
    assert shared.ids.numel() == sum(map(len, prompts)) + sum(len(answer) - 1 for _, answer in PAIRS)
    assert PAD not in shared.ids
    assert sorted(shared.inverse.tolist()) == shared.inverse.unique().tolist(), "no two from one place"


def test_an_answer_sees_nothing_of_the_others(model, batch):
    with torch.no_grad():
        before = together(model, batch)
        for changed, (prompt, answer) in enumerate(PAIRS):
            other = replace(batch, ids=batch.ids.clone())
            other.ids[changed, len(prompt)] += 1
            after = together(model, other)
            rows = [row for row, (_, each) in enumerate(PAIRS) for _ in each]
            differ = {
                row for row, moved in zip(rows, (after - before).abs().amax(1) > 1e-4, strict=True) if moved
            }
            assert differ == ({changed} if len(answer) > 1 else set())


def test_what_stands_in_the_padding_is_never_read(model, batch):
    wild = replace(batch, ids=batch.ids.clone())
    wild.ids[torch.arange(batch.ids.shape[1]) > batch.last[:, None]] = 1
    assert torch.equal(together(model, wild), together(model, batch))


def test_the_last_token_of_an_answer_has_no_say_in_any_score(model):
    """It is a target alone, as where the plain way reads all but a text's last token."""
    ends = Completions.from_pairs([(prompt, [*answer[:-1], 50]) for prompt, answer in PAIRS], PAD)
    plain = Completions.from_pairs(PAIRS, PAD)
    assert torch.equal(together(model, ends), together(model, plain))
