"""The pictures of reinforcement learning."""

import math
import warnings

import pytest
from matplotlib.image import imread
from rl_runs import history_of

from folio.report.overoptimization import REWARDS, draw_reward_curves, reward_curves
from folio.report.rl_figure import PANELS, draw_history, needs_own_axis
from folio.report.rl_history import History


@pytest.fixture
def picture(tmp_path):
    """Draws over an old picture, and gives the new one's height and width in dots."""

    def draw(function, *arguments):
        path = tmp_path / "picture.png"
        path.write_bytes(b"old")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function(*arguments, path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]
        image = imread(path)
        assert image[0, 0, :3].min() == 1, "the background is light"
        assert image.std() > 0.02, "something is drawn"
        return image.shape[:2]

    return draw


def without(history: History, *names: str) -> History:
    """The same run with fewer figures."""
    records = [
        {name: value for name, value in record.items() if name not in names} for record in history.records
    ]
    before = {name: value for name, value in history.before.items() if name not in names}
    return History(history.stage, history.status, records, before, history.config)


@pytest.mark.parametrize(("stage", "rollouts"), [("ppo", 40), ("grpo", 1)])
def test_a_run_is_drawn(picture, stage, rollouts):
    picture(draw_history, history_of(stage, rollouts), "runs/$x_1^{$")


def test_panels_without_figures_are_left_out(picture):
    whole = history_of()
    names = {name for record in whole.records for name in record} - {"step", "rollout", "reward", "kl"}
    all_rows, width = picture(draw_history, whole, "run")
    one_row = picture(draw_history, without(whole, *names), "run")
    assert one_row[0] < all_rows / 2, "reward and KL stand side by side"
    assert one_row[1] == width


def test_every_figure_of_training_is_drawn_somewhere():
    whole = history_of()
    for names in (set(whole.records[-1]), set(history_of("grpo").records[-1])):
        drawn = sum(bool(curve.series(whole)) for panel in PANELS for curve in panel.curves)
        for name in names - {
            "step",
            "tokens",
            "train_seconds",
            "loss",
            "rollout",
            "reward_std",
            "val_reward_std",
            "val_kl_k3",
            "val_gold_std",
        }:
            if name in whole.records[-1]:
                fewer = without(whole, name)
                left = sum(bool(curve.series(fewer)) for panel in PANELS for curve in panel.curves)
                assert left < drawn, name


def test_figures_that_are_no_numbers_do_not_stop_it(picture):
    picture(draw_history, history_of(kl=lambda *_: math.nan, reward=lambda *_: math.inf), "run")


@pytest.mark.parametrize(
    ("top", "gold", "is_apart"),
    [(1.0, (0.2, 0.9), False), (30.0, (0.2, 0.9), True), (1.0, (20.0, 20.5), True), (1.0, (0.0, 5.0), True)],
)
def test_gold_has_an_axis_of_its_own_where_scales_differ(top, gold, is_apart):
    history = history_of(
        reward=lambda share, _: top * share,
        val_reward=lambda share, _: top * share,
        val_gold=lambda share, _: gold[0] + (gold[1] - gold[0]) * share,
    )
    assert needs_own_axis({curve: curve.series(history) for curve in PANELS[0].curves}) == is_apart


# Several runs


def coefficient(value: float, **courses) -> History:
    run = history_of(**courses)
    return History(run.stage, run.status, run.records, run.before, {**run.config, "kl_coef": value})


def test_gains_are_in_standard_deviations_of_the_start():
    (run,) = reward_curves([("run", coefficient(0.1))])
    assert run.label == "kl_coef 0.1"
    assert run.rollouts == list(range(0, 41, 4))
    assert run.kl == pytest.approx([0.6 * n for n in range(11)])
    assert run.gains["val_reward"] == pytest.approx([0.11 * n for n in range(11)])
    assert run.gains["val_gold"] == pytest.approx([0.015 / 0.15 * n for n in range(11)])
    assert run.gold_errors == pytest.approx([1 / 8] * 11), "of 64 answers"
    assert run.highest("val_gold") == 10


def test_where_all_answers_were_worth_the_same_the_widest_spread_counts():
    started_alike = {"val_gold": lambda share, _: share, "val_gold_std": lambda share, _: 0.5 * share}
    (run,) = reward_curves([("run", coefficient(0.1, **started_alike))])
    assert run.gains["val_gold"][-1] == pytest.approx(1 / 0.5)


def test_runs_are_named_by_what_tells_them_apart():
    runs = reward_curves([("a", coefficient(0.2)), ("b", coefficient(0.0)), ("c", coefficient(0.2))])
    assert [run.label for run in runs] == ["kl_coef 0", "a", "c"]


def test_runs_are_drawn_over_their_distance(picture):
    runs = [("a", coefficient(0.2)), ("b", coefficient(0.05)), ("c", without(coefficient(0.1), "val_gold"))]
    few, many = (picture(draw_reward_curves, reward_curves(chosen)) for chosen in (runs[2:], runs * 3))
    assert few == many, "a long legend takes no room from the curves"


def test_without_gold_there_is_no_highest():
    (run,) = reward_curves([("run", without(coefficient(0.1), "val_gold"))])
    assert run.highest("val_gold") is None
    assert set(run.gains) == set(REWARDS)
