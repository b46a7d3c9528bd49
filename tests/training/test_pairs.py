"""What reward models and DPO have in common."""

from folio.training.pairs import PairsConfig


def test_steps_follow_from_pairs_and_epochs():
    assert PairsConfig(epochs=2, micro_batch_size=8).steps(20) == 6
    assert PairsConfig(epochs=0.01).steps(20) == 1
