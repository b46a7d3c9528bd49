"""A run of RL in words."""

import pytest
from rl_runs import history_of

from folio.report.rl_summary import answer_of, is_sample, main_metrics, metrics_table


def test_metrics_at_the_start_and_the_end():
    table = metrics_table(history_of("ppo"))
    assert table["gold reward"] == "held out 0.550 to 0.700"
    assert "held out" in table["reward"]
    assert "%" in table["answers that stop"]


def test_a_sentence_of_the_main_ones():
    words = main_metrics(history_of("grpo"))
    assert "KL 5.4 nats per answer, 0.09 per token" in words
    assert "on first steps the ratio is within" in words


@pytest.mark.parametrize(
    ("text", "answer"), [("> Who?\nI.", "I."), ("> no line end", "> no line end"), (" I. ", "I.")]
)
def test_a_sample_is_shown_without_its_question(text, answer):
    assert answer_of(text) == answer


def test_what_a_sample_is():
    assert is_sample({"step": 1, "prompt": "a", "text": "b"})
    assert not is_sample({"step": "1", "prompt": "a", "text": "b"})
    assert not is_sample({"step": 1, "prompt": "a"})
