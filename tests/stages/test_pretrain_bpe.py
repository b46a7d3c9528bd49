"""`folio pretrain --tokenizer bpe`: the same run, of pieces of words."""

import json
import math

import pytest
import torch
from killing import at, in_a_process, run_until, without_times, wrap
from tiny import STEPS, TINY, make_text

from folio import cli
from folio.data.corpora import Corpus
from folio.data.windows import spread_windows
from folio.evaluation.loss import HeldOut
from folio.files import read_lines
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_inference
from folio.runs.recorder import Recorder
from folio.stages.pretrain import PretrainRunConfig, encode, make_tokenizer
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.pieces import PIECE, pieces

BPE = ("--tokenizer", "bpe", "--vocab-size", "290")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A finished run of pieces of words. Do not change it."""
    folder = tmp_path_factory.mktemp("bpe")
    (folder / "words.txt").write_text(make_text(), encoding="utf-8")
    arguments = ["pretrain", "--data", str(folder / "words.txt"), "--run", str(folder / "run"), *TINY, *BPE]
    assert cli.main(arguments) == 0
    return folder / "run"


def halves():
    return Corpus("words", make_text(), "").split()


def test_its_tokens_are_those_of_the_training_text_alone(learned):
    model, tokenizer = load_for_inference(learned)
    train_text, _ = halves()
    assert tokenizer.content == BPETokenizer.train([train_text], 290).content
    assert model.config.vocab_size == tokenizer.vocab_size == 290
    assert {path.name for path in learned.glob("checkpoints/*/tokenizer.json")} == {"tokenizer.json"}


def test_a_word_that_only_the_validation_text_has_gets_no_token():
    text = "a b c d e f g h\n" * 200 + "unheard-of " * 20
    corpus = Corpus("words", text, "")
    assert "unheard" in corpus.split()[1]
    assert "unheard" not in corpus.split()[0]
    config = PretrainRunConfig(tokenizer="bpe", vocab_size=400)
    tokenizer = make_tokenizer(config, corpus)
    assert "unheard" not in tokenizer.content
    assert tokenizer.decode(tokenizer.encode("unheard-of")) == "unheard-of"


def test_its_loss_is_one_of_tokens_and_bits_per_byte_those_of_bytes(learned):
    _, val_text = halves()
    _, tokenizer = load_for_inference(learned)
    ids = tokenizer.encode(val_text)
    n_bytes = len(tokenizer.decode(ids[1:]).encode())
    records = read_lines(learned / "metrics.jsonl")
    assert records[0]["loss"] == pytest.approx(math.log(290), rel=1e-5)
    evaluated = [record for record in records if "val_loss" in record]
    assert len(evaluated) == 10
    for record in evaluated:
        assert record["val_bpb"] == pytest.approx(record["val_loss"] * (len(ids) - 1) / math.log(2) / n_bytes)


def test_it_is_shown_in_tokens(pretrain, run):
    done = pretrain(*BPE)
    assert (done.code, done.err) == (0, "")
    out = " ".join(done.out.split())
    n_tokens = len(load_for_inference(run)[1].encode(halves()[0]))
    epochs = STEPS * 64 / n_tokens
    for words in ("vocabulary of 290, 5 of them special", f"{n_tokens:,} for training", f"16 tokens, {epochs:.1f} epochs", "tokens/s",
                  "nats per token", "bits per byte"):  # fmt: skip
        assert words in out, words
    assert "characters/s" not in out


def test_it_writes(folio, learned):
    done = folio("sample", learned, "--prompt", "東京 ☃", "--tokens", "5")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("東京 ☃")


def test_it_opens_in_transformers(learned):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(learned / "best")
    model, tokenizer = load_for_inference(learned)
    text = make_text()[:300]
    assert theirs(text)["input_ids"] == tokenizer.encode(text).tolist()
    oracle = transformers.AutoModelForCausalLM.from_pretrained(learned / "best", dtype=torch.float32)
    ids = torch.from_numpy(tokenizer.encode(text)[:16]).long()[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids), oracle(ids).logits, atol=1e-4, rtol=0)


def test_a_validation_text_that_is_short_in_tokens_is_refused(folio, tmp_path, run):
    # 30 characters to measure on are enough for a window of 16, but they are 10 tokens.
    (tmp_path / "words.txt").write_text("the " * 75, encoding="utf-8")
    data = ("--data", tmp_path / "words.txt", "--run", run)
    assert folio("pretrain", *data, *TINY, "--steps", "2").code == 0
    refused = folio("pretrain", "--data", tmp_path / "words.txt", "--run", f"{run}-bpe", *TINY, *BPE)
    assert "tokens and needs at least 17" in refused.mistake


@pytest.mark.parametrize(
    ("size", "message"), [("0", "at least 1"), ("200", "bytes and special tokens alone need 261")]
)
def test_too_few_tokens_are_refused(pretrain, size, message):
    assert message in pretrain("--tokenizer", "bpe", "--vocab-size", size).mistake


def stop_at(moment, arguments, output):
    run_until(lambda: wrap(Recorder, "sample", at(int(moment)), after=True), arguments, output)


def test_it_goes_on_as_if_it_had_not_been_killed(tmp_path, text_file):
    def start(name, step, *flags):
        arguments = ["pretrain", "--data", str(text_file), "--run", str(tmp_path / name), *TINY, *BPE, *flags]
        return in_a_process(stop_at, step, arguments, tmp_path)[0]

    assert start("whole", str(STEPS + 1)) == 0
    assert start("killed", "8") == -9
    assert start("killed", str(STEPS + 1), "--resume") == 0
    whole, killed = (
        [without_times(record) for record in read_lines(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "killed")
    )
    assert whole == killed
    for file in ("best/tokenizer.json", "best/model.safetensors", "samples.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_another_text_is_refused_before_it_is_tokenized(pretrain, run, text_file, tokenizer):
    flags = ("--tokenizer", tokenizer, "--vocab-size", "290")
    assert pretrain(*flags, "--steps", "2").code == 0
    RunDirectory(run).set_status("interrupted")
    text_file.write_text(make_text() + "☃", encoding="utf-8")
    assert "learned from other data" in pretrain(*flags, "--steps", "2", "--resume").mistake


def test_a_long_validation_text_is_measured_on_in_part(pretrain, run):
    assert pretrain(*BPE, "--validation-tokens", 50).code == 0
    _, tokenizer = load_for_inference(run)
    ids = torch.from_numpy(tokenizer.encode(halves()[1]))
    n_windows = json.loads((run / "run.json").read_text())["plan"]["validation_windows"]
    assert 1 <= n_windows <= 50 // 16
    last = read_lines(run / "metrics.jsonl")[-1]
    model = load_for_inference(run / "checkpoints" / f"step-{STEPS}")[0]
    measured = HeldOut(list(spread_windows(ids, 16, 32, n_windows)), n_bytes=1)(model)
    assert last["val_loss"] == pytest.approx(measured["val_loss"], rel=1e-5)


@pytest.mark.parametrize("text", [make_text(), "one line only " * 20, "\n\n\n", "x"])
def test_a_long_text_is_cut_at_line_ends(text):
    cut = list(pieces(text, size=50))
    assert "".join(cut) == text
    assert all(
        piece.endswith("\n") and piece.find("\n", 50) == len(piece) - 1
        for piece in cut[:-1]
        if len(piece) < 100
    )


@pytest.mark.parametrize("name", ["char", "bpe"])
def test_a_long_text_is_tokenized_piece_by_piece(name):
    assert len(list(pieces(make_text(), size=50))) > 40
    corpus = Corpus("words", make_text(), "")
    tokenizer = make_tokenizer(PretrainRunConfig(tokenizer=name, vocab_size=290), corpus)
    text = corpus.text * (3 * PIECE // len(corpus.text))
    assert len(list(pieces(text))) == 3
    ids = encode(text, tokenizer)
    assert ids.dtype == torch.int32
    assert tokenizer.decode(ids.tolist()) == text


def test_its_tokenizer_file_is_one_of_bpe(learned):
    tokenizer = load_for_inference(learned)[1]
    assert json.loads(tokenizer.content)["model"]["type"] == "BPE"
