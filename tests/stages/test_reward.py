"""folio reward: which of two answers is better (folio.stages.preferences, folio.report.preferences)."""

import json

import pytest
import torch
from tiny import TINY
from tiny_rl import PAIRS, RATES, make_pairs

from folio import cli
from folio.data.preferences import pair_batch, read_preferences, tokenize_pair
from folio.files import read_lines
from folio.model.directory import load_score_model
from folio.objectives.reward import completion_scores
from folio.tokenizer.directory import load_tokenizer


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", n=320)


@pytest.fixture(scope="module")
def learned(finished, pairs):
    """A reward model that has learned; do not change it."""
    run = pairs.parent / "rm"
    flags = (
        "--data",
        str(pairs),
        "--run",
        str(run),
        *PAIRS,
        *RATES,
        "--epochs",
        "2",
        "--micro-batch-size",
        "8",
    )
    assert cli.main(["reward", str(finished), *flags]) == 0
    return run


@pytest.fixture
def reward(folio, finished, tmp_path, run):
    """Runs `folio reward` on the tiny model, with few pairs; later flags win."""
    data = make_pairs(tmp_path / "few.jsonl")
    return lambda *flags: folio("reward", finished, "--data", data, "--run", run, *PAIRS, *flags)


def held_out_scores(run, path, subtract_mean=True):
    model, tokenizer = load_score_model(run / "best").eval(), load_tokenizer(run / "best")
    pairs = [tokenize_pair(tokenizer, each) for each in read_preferences(path)]
    measured = pairs[len(pairs) - round(0.1 * len(pairs)) :]
    with torch.inference_mode():
        return torch.cat(
            [
                completion_scores(model, pair_batch([pair], tokenizer.special_ids["<|pad|>"]))
                for pair in measured
            ]
        )


def test_it_learns_what_is_preferred(learned):
    info, records = json.loads((learned / "run.json").read_text()), read_lines(learned / "metrics.jsonl")
    assert max(line["val_accuracy"] for line in records if "val_loss" in line) > 0.95
    assert info["before"]["val_accuracy"] < 0.8
    assert info["before"]["val_loss"] > 0.5
    assert (info["status"], info["stage"]) == ("finished", "reward")
    assert (learned / "loss.png").exists()


def test_its_scores_have_mean_0_and_deviation_1_on_held_out_answers(learned, pairs):
    given = held_out_scores(learned, pairs)
    assert given.mean().item() == pytest.approx(0, abs=1e-4)
    assert given.std().item() == pytest.approx(1, abs=1e-4)
    chosen, rejected = (
        torch.cat(side) for side in zip(*(part.chunk(2) for part in given.split(2)), strict=True)
    )
    assert (chosen > rejected).float().mean() > 0.9, "and the order is as it was learned"


def test_transformers_open_it_and_give_the_same_scores(learned):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    theirs = AutoModelForSequenceClassification.from_pretrained(learned / "best").eval()
    tokenizer = AutoTokenizer.from_pretrained(learned / "best")
    ours = load_score_model(learned / "best").eval()
    messages = [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "mat"}]
    ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=False)
    assert ids[0, -1] == tokenizer.convert_tokens_to_ids("<|end|>")
    with torch.inference_mode():
        expected = ours(ids)[:, -1] + ours.score_mean
        torch.testing.assert_close(theirs(ids).logits[:, 0], expected, atol=1e-4, rtol=1e-4)
    assert ours.score_mean == theirs.config.score_mean != 0


def test_the_learning_rate_is_annealed_and_each_pair_seen_once(reward, run):
    reward()
    records = read_lines(run / "metrics.jsonl")
    assert len(records) == 36 / 4
    rates = [record["learning_rate"] for record in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.03 * rates[0]


def test_dropout_is_off(reward, folio, text_file, tmp_path, run):
    """Two answers must differ by what they say, not by which units were dropped."""
    base = tmp_path / "base"
    assert (
        folio("pretrain", "--data", text_file, "--run", base, *TINY, "--steps", 2, "--dropout", "0.5").code
        == 0
    )
    data = make_pairs(tmp_path / "pairs.jsonl")
    assert folio("reward", base, "--data", data, "--run", run, *PAIRS).code == 0
    assert load_score_model(run / "best").config.dropout == 0


def test_what_it_makes_of_some_pairs_is_shown_as_it_is(reward, run, tmp_path):
    """Without the noise of training: the last verdicts are those of the model that was kept."""
    reward()
    best = min((r for r in read_lines(run / "metrics.jsonl") if "val_loss" in r), key=lambda r: r["val_loss"])
    shown = [line for line in read_lines(run / "samples.jsonl") if line["step"] == best["step"]]
    given = []
    for line in shown:
        first, second = line["text"].split("\n")
        given += [float(first.split()[1].rstrip(":")), float(second.split()[1].rstrip(":"))]
    model, tokenizer = load_score_model(run / "best").eval(), load_tokenizer(run / "best")
    pairs = [tokenize_pair(tokenizer, each) for each in read_preferences(tmp_path / "few.jsonl")[36:39]]
    expected = []
    with torch.inference_mode():
        for pair in pairs:
            expected += [
                model(torch.tensor([[*pair.prompt, *side]]))[0, -1].item()
                for side in (pair.chosen, pair.rejected)
            ]
    # Bringing the scores to mean 0 and deviation 1 is a straight line.
    given, expected = torch.tensor(given), torch.tensor(expected)
    assert torch.corrcoef(torch.stack([given, expected]))[0, 1] > 0.99


def test_a_finished_run_is_shown_again(reward):
    first = reward()
    again = reward()
    assert (again.code, again.err) == (0, "")
    assert "already finished" in again.out
    assert "length alone" in first.out
    assert "folio ppo" in again.out


def test_lengths_alone_are_told(reward):
    assert "length alone the " in " ".join(reward().out.split())


def test_pairs_that_do_not_fit_are_left_out_and_counted(reward, tmp_path):
    pair = {"prompt": "cat", "chosen": "the cat sat", "rejected": "no!"}
    with (tmp_path / "few.jsonl").open("a") as file:
        file.writelines(json.dumps(pair) + "\n" for _ in range(3))
    outcome = reward("--validation", make_pairs(tmp_path / "validation.jsonl", n=4))
    assert outcome.code == 0, outcome.err
    assert "the context is 16 tokens: 3 of 43 pairs are left out\n" in outcome.err
    assert "40 pairs for training, 4 held out" in " ".join(outcome.out.split())


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


GOOD, LONG = (
    {"prompt": "cat", "chosen": "mat", "rejected": "ran"},
    {"prompt": "cat", "chosen": "mat" * 9, "rejected": "a"},
)
FILES = {
    "none fits": (lines(LONG, LONG), "none of 1 pairs fits into 16 tokens"),
    "only one pair": (lines(GOOD), "holds only one record: give at least two, or name validation data"),
    "broken JSON": (lines(GOOD, GOOD) + "{", "line 3: not valid JSON"),
    "equal sides": (lines(GOOD, {**GOOD, "chosen": "ran"}), "line 2: chosen and rejected are the same"),
    "unknown character in an answer": (lines(GOOD, {**GOOD, "chosen": "ξ"}), "'ξ' (1 time, first in a pair with the prompt 'cat')"),
    "unknown character in a prompt": (lines({**GOOD, "prompt": "ξ"}, GOOD), "'ξ' (1 time, first in a pair with the prompt 'ξ')"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=FILES)
def test_preferences_that_cannot_be_learned_from(reward, run, tmp_path, content, told):
    (tmp_path / "few.jsonl").write_text(content, encoding="utf-8")
    assert told in reward().mistake
    assert not run.exists()


def test_mistakes_are_told_in_one_line(folio, reward, finished, run, learned):
    assert "--data is required: name a file of preferences" in folio("reward", finished, "--run", run).mistake
    assert "absent.jsonl cannot be read" in reward("--data", "absent.jsonl").mistake
    assert "epochs is 0" in reward("--epochs", "0").mistake
    assert "epochs is nan" in reward("--epochs", "nan").mistake
    assert "micro_batch_size is 0" in reward("--micro-batch-size", "0").mistake
    pairs = make_pairs(run.parent / "pairs.jsonl")
    assert "holds a reward model" in folio("reward", learned, "--data", pairs, "--run", run).mistake
    assert not run.exists()
