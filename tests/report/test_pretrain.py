"""What pretraining is expected to lead to, in words. The tables of a run are tested with its stage."""

import pytest

from folio.report.pretrain import quality_after

WHOLE = 600 * 2048
"""Characters that the recipe shakespeare trains on."""


@pytest.mark.parametrize(
    ("share", "words", "loss"),
    [
        (0.001, "letters where letters belong", "above 2.01"),
        (0.1834, "words, many of them invented", "near 2.01"),
        (1.0, "mostly real words", "near 1.52"),
        (20.0, "mostly real words", "at most 1.52"),
    ],
)
def test_more_training_is_expected_to_read_better(share, words, loss):
    told = quality_after(round(share * WHOLE))
    assert told.startswith(words)
    assert told.endswith(f"validation loss {loss}")
