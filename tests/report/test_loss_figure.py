"""The picture of a run."""

import pytest

from folio.report.loss_figure import plot_losses
from folio.report.reference import Reference

REFERENCE = Reference(
    hardware="x",
    text_sha256="",
    plan={},
    shares=[0.5, 1.0],
    losses=[[2.0], [1.5]],
    landmarks={"the lecture": 1.48},
)


@pytest.mark.parametrize("n_records", [1, 2, 40])
@pytest.mark.parametrize("reference", [None, REFERENCE])
def test_a_picture_is_drawn(tmp_path, n_records, reference):
    records = [{"tokens": 10 * n, "loss": 3 / n} for n in range(1, n_records + 1)]
    records[-1]["val_loss"] = 2.0
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    plot_losses(records, 10 * n_records, path, reference)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["loss.png"]


def test_a_run_that_has_not_been_evaluated(tmp_path):
    plot_losses([{"tokens": 1, "loss": 3.0}], 10, tmp_path / "loss.png", None)
    assert (tmp_path / "loss.png").exists()
