"""folio dpo: a model learns from preferences at once."""

import json
import math

import pytest
import torch
from tiny_rl import PAIRS, RATES, make_pairs

from folio.batch import Completions
from folio.files import read_lines
from folio.objectives.dpo import dpo_loss
from folio.objectives.logprobs import completion_logprobs
from folio.runs.load import load_for_inference


@pytest.fixture
def dpo(folio, finished, tmp_path, run):
    """Runs `folio dpo` on the tiny model; later flags win."""
    data = make_pairs(tmp_path / "pairs.jsonl", n=80)
    flags = ("--data", data, "--run", run, *PAIRS, "--prompt", "cat", "--micro-batch-size", 16)
    return lambda *more: folio("dpo", finished, *flags, *more)


def test_it_learns_what_is_preferred_and_begins_as_its_reference(dpo, run):
    outcome = dpo(*RATES, "--epochs", 4, "--beta", 0.5)
    assert outcome.code == 0, outcome.err
    info, records = json.loads((run / "run.json").read_text()), read_lines(run / "metrics.jsonl")
    before, after = info["before"], records[-1]
    assert before["val_margin"] == 0
    assert before["val_loss"] == pytest.approx(math.log(2))
    assert before["val_accuracy"] == 0.5
    assert records[0]["margin"] == 0
    assert records[0]["loss"] == pytest.approx(math.log(2))
    assert after["val_margin"] > 0.1
    assert after["val_accuracy"] > 0.9
    assert records[-1]["chosen_reward"] > records[-1]["rejected_reward"]


def test_the_chosen_answers_are_held_up_and_not_the_rejected_ones(finished):
    model, _ = load_for_inference(finished)
    batch = Completions.from_pairs(
        [([1], [2, 3, 4]), ([1, 2], [3]), ([1], [5, 6]), ([1, 2], [7, 8, 9, 10])], pad_id=0
    )
    with torch.no_grad():
        found = dpo_loss(model, batch, reference=model, beta=0.1, nll_coef=2.0)
        logprobs = completion_logprobs(model, batch)
    nll = -(logprobs[0] / 3 + logprobs[1] / 1).item()
    assert found.metrics["nll"].item() == pytest.approx(nll, rel=1e-5)
    assert found.total.item() == pytest.approx(2 * math.log(2) + 2 * nll, rel=1e-5)


def test_what_it_makes_is_open_to_transformers_and_shown_again(dpo, run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert dpo().code == 0
    theirs = AutoModelForCausalLM.from_pretrained(run / "best").eval()
    model, _ = load_for_inference(run)
    ids = AutoTokenizer.from_pretrained(run / "best").apply_chat_template(
        [{"role": "user", "content": "cat"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-4, rtol=1e-4)
    again = dpo()
    assert (again.code, again.err) == (0, "")
    assert "already finished" in again.out


MISTAKES = {
    "no data": (["--data", "absent.jsonl"], "absent.jsonl cannot be read"),
    "beta": (["--beta", "0"], "beta is 0"),
    "beta that is no number": (["--beta", "nan"], "beta is nan"),
    "epochs": (["--epochs", "-1"], "epochs is -1"),
}


@pytest.mark.parametrize(("flags", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(dpo, run, flags, told):
    assert told in dpo(*flags).mistake
    assert not run.exists()
