"""Answers for which a model reads its text once more, against what is computed another way."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from tiny import TINY

from folio.data.corpora import load_corpus
from folio.errors import UserError
from folio.inference.inspection import inspect
from folio.report.quiz_answers import answer_for
from folio.report.quiz_model import read_again, where
from folio.report.quiz_run import read_finished_run
from folio.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def run(finished):
    return read_finished_run(finished)


@pytest.fixture(scope="module")
def reader(run):
    return read_again(run)


def test_it_reads_the_text_that_the_run_was_trained_on(finished, reader):
    corpus = load_corpus(str(finished.parent / "words.txt"))
    assert (reader.train, reader.validation) == corpus.split()


def test_the_most_surprising_character_has_the_highest_loss(run, reader):
    found = answer_for(run, "most_surprising")
    line = found.given
    assert line in reader.validation
    losses = inspect(
        reader.model, [reader.tokenizer.special_ids["<|bos|>"], *reader.ids(line)], layer=0
    ).losses
    assert found.right.answer == where(line, int(losses.argmax()))
    assert f"costs {losses.max():.2f} nats" in found.right.words
    assert where("abc", 0) == "a at the beginning"
    assert where("so soft", 2) == "␣ after 'so'"


def test_the_probability_after_an_empty_line_is_the_model_s(run, reader):
    line = next(line for line in reader.train.split("\n") if len(line) > 1)[: reader.block_size - 2]
    rows = inspect(reader.model, reader.ids("\n\n" + line), layer=0).logprobs.exp()
    found = answer_for(run, "after_an_empty_line")
    assert found.value == pytest.approx(100 * rows[-2, reader.ids(line[-1])[0]].item(), rel=1e-3)
    assert found.given == f"{line[:-1]!r}, and then {line[-1]!r}"


def test_the_head_that_looks_at_the_token_before(run, reader):
    ids = reader.ids(reader.validation[: reader.block_size])
    layers = [inspect(reader.model, ids, layer).attention for layer in range(2)]
    weights = torch.stack([layer.diagonal(-1, dim1=1, dim2=2).mean(-1) for layer in layers])  # (L, H)
    assert answer_for(run, "to_the_previous").value == pytest.approx(100 * weights.max().item(), rel=1e-4)


def test_the_costliest_head_costs_what_the_loss_rises_without_it(run, reader):
    found = answer_for(run, "costliest_head")
    windows = reader.windows()
    before = reader.loss(windows)
    rises, D = [], reader.model.config.head_size
    for block in reader.model.blocks:
        for head in range(2):
            output = block.attention.output.weight
            with torch.no_grad():
                kept = output.clone()
                output[:, head * D : (head + 1) * D] = 0
                rises.append(reader.loss(windows) - before)
                output.copy_(kept)
    assert found.value == pytest.approx(max(rises), abs=1e-6)


def test_pairs_are_those_of_the_embedding_alone(run, reader):
    frequent = sorted(set(reader.train), key=reader.train.count, reverse=True)[:10]
    text, agree = reader.train, 0
    for character in frequent:
        stream = reader.model.embedding.weight[reader.ids(character)]
        guess = reader.tokenizer.decode([int(reader.model.head(reader.model.norm(stream)).argmax())])
        followers = {each: text.count(character + each) for each in set(text) if each != character}
        agree += followers.get(guess, -1) == max(followers.values())
    found = answer_for(run, "pairs_before_layers")
    assert found.value == agree
    assert found.working.startswith("Of 10 characters.")


def test_half_the_temperature_is_that_of_softmax(run, reader):
    found = answer_for(run, "half_the_temperature")
    rows = inspect(reader.model, reader.windows()[0, :-1], layer=0).logprobs
    sharper = (rows / 0.5).softmax(-1).max(-1).values
    assert (100 * sharper - found.value).abs().min() < 1e-3


def test_the_nearest_character_has_the_largest_cosine(run, reader):
    found = answer_for(run, "nearest_in_the_table")
    assert found.given == "—"  # the most frequent mark, as the tiny text has no period
    table = reader.model.embedding.weight
    others = [character for character in reader.tokenizer.characters if character != "—"]
    cosines = F.cosine_similarity(table[reader.ids("".join(others))], table[reader.ids("—")])
    assert found.right.answer == reader.sign(reader.ids(others[int(cosines.argmax())])[0])
    assert found.right.answer not in {each.answer for each in found.wrong}


def test_a_text_that_has_changed_is_named(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    made = RunDirectory(tmp_path / "run")
    made.write_info(made.read_info() | {"data_sha256": "0"})
    with pytest.raises(UserError, match=r"words\.txt is not the text any more that .*run was trained on"):
        answer_for(read_finished_run(tmp_path / "run"), "most_surprising")


def test_a_model_of_longer_tokens_is_named(folio, text_file, tmp_path):
    flags = ("--run", tmp_path / "run", *TINY, "--tokenizer", "bpe", "--vocab-size", "280", "--steps", "2")
    assert folio("pretrain", "--data", text_file, *flags).code == 0
    with pytest.raises(UserError, match="is about a character model"):
        answer_for(read_finished_run(tmp_path / "run"), "to_the_previous")
