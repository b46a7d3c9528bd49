import pytest

from folio.evaluation.diversity import distinct_n


@pytest.mark.parametrize(
    ("texts", "n", "expected"),
    [
        (["a b c d"], 2, 1.0),
        (["a b", "a b", "a c"], 2, 2 / 3),
        (["a a a a"], 2, 1 / 3),
        (["a b a", "b"], 1, 2 / 4),
        (["a b c", "a  b\nc"], 3, 1 / 2),
        (["one", "", "two"], 2, 0.0),
        ([], 2, 0.0),
    ],
)
def test_it_is_the_share_of_different_n_grams_of_all_texts_together(texts, n, expected):
    assert distinct_n(texts, n) == pytest.approx(expected)


def test_saying_the_same_each_time_is_seen():
    assert distinct_n(["i know thee not"] * 10) == pytest.approx(0.1)
