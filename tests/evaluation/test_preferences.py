"""How well a model tells the better of two answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import PAD, random_scorer

from folio.batch import Completions
from folio.evaluation.preferences import HeldOutPairs, calibration_error, longer_wins, preference_metrics
from folio.objectives.reward import completion_scores


@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=60))
def test_figures_are_their_definitions(margins):
    figures = preference_metrics(torch.tensor(margins))
    n = len(margins)
    assert figures["accuracy"] == pytest.approx(sum((m > 0) + 0.5 * (m == 0) for m in margins) / n)
    assert figures["margin"] == pytest.approx(sum(margins) / n, abs=1e-5)
    assert figures["loss"] == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / n, abs=1e-5)


INSIDE_A_BIN = st.tuples(st.integers(0, 9), st.floats(0.01, 0.99))
"""Number of a bin, and the place in it: on the edge between two, rounding decides."""


@given(st.lists(st.tuples(INSIDE_A_BIN, st.booleans()), min_size=1, max_size=80))
def test_calibration_error_is_the_weighted_gap_of_ten_bins(drawn):
    bins: dict[int, list[tuple[float, bool]]] = {}
    for (number, place), hit in drawn:
        bins.setdefault(number, []).append((0.5 + (number + place) / 20, hit))
    judgments = [judgment for held in bins.values() for judgment in held]
    expected = 0.0
    for held in bins.values():
        gap = sum(c for c, _ in held) / len(held) - sum(h for _, h in held) / len(held)
        expected += len(held) / len(judgments) * abs(gap)
    confidences = torch.tensor([c for c, _ in judgments], dtype=torch.float64)
    hits = torch.tensor([float(h) for _, h in judgments], dtype=torch.float64)
    assert calibration_error(confidences.float(), hits.float()) == pytest.approx(expected, abs=1e-4)


def test_who_is_as_often_right_as_sure_is_calibrated():
    confidences = torch.tensor([0.75] * 4 + [1.0] * 3)
    hits = torch.tensor([1.0, 1, 1, 0] + [1.0] * 3)
    assert calibration_error(confidences, hits) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(torch.ones(5), torch.zeros(5)) == 1.0


def test_ties_count_half():
    figures = preference_metrics(torch.zeros(3))
    assert figures["accuracy"] == 0.5
    assert figures["loss"] == pytest.approx(math.log(2))
    assert figures["calibration_error"] == 0.0


def test_a_judge_of_lengths():
    assert longer_wins([(3, 2), (2, 3), (2, 2), (9, 1)]) == 2.5 / 4


def test_how_pairs_are_batched_does_not_matter_and_dropout_is_off():
    model = random_scorer(dropout=0.5).train()
    pairs = [([1, 2], [3 + i % 3] * (1 + i)) for i in range(6)]
    chosen, rejected = pairs[:3], pairs[3:]

    def margins(model, batch):
        better, worse = completion_scores(model, batch).chunk(2)
        return better - worse

    whole = HeldOutPairs([Completions.from_pairs([*chosen, *rejected], PAD)], margins)
    single = [Completions.from_pairs([c, r], PAD) for c, r in zip(chosen, rejected, strict=True)]
    first, second = whole(model), HeldOutPairs(single, margins)(model)
    assert first == pytest.approx(second, abs=1e-5)
    assert whole(model) == first
    assert model.training
    assert set(first) == {"val_loss", "val_accuracy", "val_margin", "val_calibration_error"}
