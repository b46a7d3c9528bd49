"""The recipe arithmetic, each stage on what the one before has made, with everything made small."""

import pytest
from tiny import TINY

from folio.files import read_lines

HARDWARE = ("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1")
SMALL = ("--rollouts", "3", "--rollout-size", "8", "--group-size", "4", "--minibatch-size", "8")


@pytest.fixture
def stages(folio, tmp_path, monkeypatch):
    """Runs a stage of the recipes on the run before it; later flags win."""
    monkeypatch.chdir(tmp_path)  # recipes work from any folder

    def run(stage: str, *flags: str, on: str = ""):
        before = [tmp_path / on] if on else []
        return folio(stage, "arithmetic", *before, "--run", tmp_path / stage, *HARDWARE, *flags)

    return run


def test_a_model_of_sums_is_taught_to_answer_and_rewarded(stages, tmp_path):
    assert stages("pretrain", *TINY, "--block-size", "64").code == 0
    assert stages("sft", "--epochs", "1", on="pretrain").code == 0
    outcome = stages("grpo", *SMALL, "--validation-prompts", "8", on="sft")
    assert outcome.code == 0, outcome.err
    records = read_lines(tmp_path / "grpo" / "metrics.jsonl")
    assert [record["rollout"] for record in records] == [1, 2, 3]
    assert [record["ratio"] for record in records] == pytest.approx([1, 1, 1], abs=1e-3)
    assert all(0 <= record["val_reward"] <= 1 for record in records)
    assert {line["prompt"] for line in read_lines(tmp_path / "grpo" / "samples.jsonl")} == {
        "57+168",
        "999+1",
        "2+2",
    }
    assert "already finished" in stages("grpo", *SMALL, "--validation-prompts", "8", on="sft").out
