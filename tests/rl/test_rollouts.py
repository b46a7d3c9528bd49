"""What a policy writes, and in which order it learns from that."""

import json
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import END, PAD, TOKENIZER, random_gpt

from folio.batch import Completions
from folio.checkpoint import load_state, save_state
from folio.objectives.grpo import GRPOBatch
from folio.objectives.logprobs import token_logprobs
from folio.rl.rollouts import Prompt, PromptOrder, Rollouts, write_samples
from folio.tokenizer.chat_template import prompt_ids


def prompt(text):
    return Prompt(text, prompt_ids(TOKENIZER, [{"role": "user", "content": text}]))


PROMPTS = [prompt(text) for text in ("a", "bad cafe", "deaf", "f f f f", "bed", "ace")]


def write(model, prompts=PROMPTS, temperature=1.0, seed=3, max_new_tokens=12):
    return write_samples(
        model, TOKENIZER, prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.5])
def test_the_engines_logprobs_are_the_trainers(temperature):
    """Sampler and trainer must mean the same distribution: nothing is cut off it, and both divide by the temperature."""
    model = random_gpt()
    for sample in write(model, temperature=temperature):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            expected = token_logprobs(model(ids[:, :-1]), ids[:, 1:], temperature)[0]
        found = torch.tensor(sample.logprobs)
        torch.testing.assert_close(found, expected[len(sample.prompt_ids) - 1 :], atol=1e-4, rtol=0)


def test_samples_are_drawn_from_the_whole_distribution():
    """One token after the same prompt, many times: as often as its probability says, unlikely ones too."""
    model, n = random_gpt(), 4000
    with torch.no_grad():
        p = (model(torch.tensor([PROMPTS[0].ids]))[0, -1] / 1.3).softmax(-1)
    drawn = Counter(
        sample.completion_ids[0] for sample in write(model, [PROMPTS[0]] * n, 1.3, max_new_tokens=1)
    )
    for token, probability in enumerate(p.tolist()):
        spread = (n * probability * (1 - probability)) ** 0.5
        assert abs(drawn[token] - n * probability) < 5 * spread + 2


def test_prompts_of_different_length_do_not_disturb_each_other():
    """The engine pads on the left and gives each row positions of its own."""
    model = random_gpt()
    together = write(model)
    assert together[0] == write(model, PROMPTS[:1])[0]
    assert len({len(sample.prompt_ids) for sample in together}) > 2


def test_a_completion_is_cut_at_its_end_token_and_keeps_it():
    samples = write(random_gpt(), PROMPTS * 8)
    assert {sample.is_stopped for sample in samples} == {True, False}
    for sample in samples:
        assert (sample.completion_ids[-1] == END) is sample.is_stopped
        assert END not in sample.completion_ids[:-1]
        assert "<|" not in sample.completion
        assert len(sample.logprobs) == len(sample.completion_ids) <= 12
        assert sample.is_stopped or len(sample.completion_ids) == 12


def test_of_what_was_written_special_tokens_are_not_shown():
    samples = write(random_gpt(), PROMPTS * 8)
    assert any(PAD in sample.completion_ids for sample in samples)  # a token like others, if it was drawn
    special = set(TOKENIZER.special_ids.values())
    for sample in samples:
        plain = [i for i in sample.completion_ids if i not in special]
        assert TOKENIZER.encode(sample.completion).tolist() == plain


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 3))
def test_all_prompts_come_once_before_any_comes_twice(n, size, seed):
    prompts = [Prompt(str(i), [i]) for i in range(n)]
    order = PromptOrder(prompts, seed)
    taken = [each.text for iteration in range(2 * n) for each in order.take(iteration, size)]
    for epoch in range(size * 2):
        assert sorted(taken[epoch * n : (epoch + 1) * n]) == sorted(each.text for each in prompts)
    assert order.take(3, size) == PromptOrder(prompts, seed).take(3, size)  # of seed and number alone


def test_epochs_and_seeds_have_orders_of_their_own():
    prompts = [Prompt(str(i), [i]) for i in range(20)]
    orders = [PromptOrder(prompts, seed).take(i, 20) for seed in (0, 1) for i in (0, 1)]
    assert len({tuple(each.text for each in order) for order in orders}) == 4


def experience(iteration, n=10):
    """Rows that tell where they are from, of different lengths."""
    widths = [2 + (i * 7) % 5 for i in range(n)]
    ids, mask = torch.full((n, 6), -1), torch.zeros(n, 6)
    for row, width in enumerate(widths):
        ids[row, :width] = 100 * iteration + row
        mask[row, 1:width] = 1
    marks = ids[:, 1:].float()
    return GRPOBatch(ids, mask, marks, marks + 0.25, marks + 0.5), {"reward": 1.0 + iteration}


def rollouts(made=None, **changes):
    def make(iteration):
        if made is not None:
            made.append(iteration)
        return experience(iteration)

    settings = {"passes": 2, "minibatch_size": 4, "micro_batch_size": 3, "seed": 1, **changes}
    return Rollouts(make, GRPOBatch, **settings)


def rows_in(group):
    return [row for batch in group for row in batch.ids[:, 0].tolist()]


def test_each_pass_visits_every_row_once_in_a_new_order():
    made = []
    source = rollouts(made)
    for rollout in range(3):
        passes = [[rows_in(next(source)) for _ in range(3)] for _ in range(2)]
        for minibatches in passes:
            assert [len(rows) for rows in minibatches] == [4, 4, 2]
            assert sorted(row for rows in minibatches for row in rows) == [
                100 * rollout + row for row in range(10)
            ]
        assert passes[0] != passes[1]
        assert made == list(range(rollout + 1))
        assert source.metrics() == {"rollout": rollout + 1, "reward": 1.0 + rollout}


def test_micro_batches_are_parts_of_a_minibatch_and_change_no_order():
    small, large = rollouts(micro_batch_size=1), rollouts(micro_batch_size=50)
    for _ in range(8):
        parts, whole = next(small), next(large)
        assert (len(whole), rows_in(parts)) == (1, rows_in(whole))
        lengths = whole[0].last.tolist()
        assert lengths == sorted(lengths), "rows of like length share a micro-batch"
        assert all(len(batch.ids) == 1 for batch in parts)
    assert [len(batch.ids) for batch in next(rollouts())] == [3, 1]


def test_answers_to_one_prompt_go_through_the_model_together():
    pairs = [([group] * (1 + group), [9] * (1 + (5 * row) % 7)) for group in range(3) for row in range(4)]
    written = Completions.of(pairs, PAD)
    nothing = torch.zeros(written.mask[:, 1:].shape)
    made = GRPOBatch(written.ids, written.mask, nothing, nothing, nothing)
    source = Rollouts(
        lambda _: (made, {}), GRPOBatch, epochs=2, minibatch_size=12, micro_batch_size=4, seed=1
    )
    for _ in range(2):
        prompts = [batch.prompts for batch in next(source)]
        assert [len(each) for each in prompts] == [4, 4, 4]
        assert sorted(set(each).pop() for each in prompts) == [(0,), (1, 1), (2, 2, 2)]
        assert all(len(set(each)) == 1 for each in prompts)


def test_rows_keep_what_belongs_to_them_and_lose_empty_columns():
    whole, _ = experience(0)
    part = whole.rows([5, 1, 0])
    width = int(whole.mask[[5, 1, 0]].sum(1).max()) + 1
    assert part.ids.shape == part.mask.shape == (3, width) < whole.ids.shape
    assert part.old_logprobs.shape == (3, width - 1)
    for row, origin in enumerate([5, 1, 0]):
        kept = part.mask[row, 1:].bool()
        assert kept.sum() == whole.mask[origin].sum()
        for name, shift in (("old_logprobs", 0), ("ref_logprobs", 0.25), ("advantages", 0.5)):
            assert (getattr(part, name)[row][kept] == origin + shift).all()


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 6, 9])
def test_in_the_middle_of_a_rollout_a_state_goes_on_exactly(tmp_path, taken):
    made = []
    source, again = rollouts(), rollouts(made)
    for _ in range(taken):
        next(source)
    save_state(tmp_path / "state", {"source": source.state_dict()})
    again.load_state_dict(load_state(tmp_path / "state")["source"])
    assert again.metrics() == source.metrics()
    for _ in range(7):
        for ours, theirs in zip(next(again), next(source), strict=True):
            assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in vars(ours))
        assert again.metrics() == source.metrics()
    assert made[:1] == [-(-taken // 6)]  # the rollout in hand is not made again
    json.dumps(again.metrics())
