"""`folio data show`: a person sees what is trained."""

import json
import re

import pytest
from byte_level import gpt2_like

from folio.commands.data import visible
from folio.data.corpora import Corpus
from folio.model.config import GPTConfig
from folio.model.gpt import GPT
from folio.runs.load import save
from folio.tokenizer.bpe import BPETokenizer


def turns(*contents):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]}


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def talk(tmp_path):
    """Forty conversations of 11 tokens, 4 of them the assistant's."""
    answers = ("a m", "no!", "cat", "Zoë", "東京 ")
    return write(tmp_path / "talk.jsonl", *(turns("the", answers[i % 5]) for i in range(40)))


@pytest.fixture
def show(folio, finished):
    return lambda data, *flags: folio("data", "show", data, "--run", finished, *flags)


def test_trained_tokens_are_marked_and_special_ones_named(show, tmp_path):
    outcome = show(write(tmp_path / "talk.jsonl", turns("the", "a\nm"), turns("on", "no")))
    assert outcome.code == 0, outcome.err
    assert "<|bos|>\n<|user|>the<|end|>\n<|assistant|>⟦a↵\nm<|end|>⟧\n" in outcome.out
    assert "2 of 2 conversations, the first" in outcome.out
    assert "Conversation 1 (" in outcome.out
    assert f"Conversation 2 ({tmp_path / 'talk.jsonl'}, line 2), validation\n" in outcome.out
    assert "11 tokens, 4 trained\n" in outcome.out


def test_in_a_terminal_they_are_green_and_others_dim(show, talk, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = show(talk).out
    assert "\x1b[1;32ma m<|end|>\x1b[0m\n" in out
    assert "\x1b[2m<|assistant|>\x1b[0m" in out
    assert "⟦" not in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "⟦a m<|end|>⟧" in show(talk).out


def test_what_is_missing_is_told(show, tmp_path):
    path = write(
        tmp_path / "talk.jsonl",
        turns("the", "a m", "on", "no"),  # 11 and 8 tokens: the context is 16
        turns("the", "a m", "on"),
        turns("the cat sat on", "no"),
    )
    out = show(path, "--validation", path).out
    assert "11 tokens, 4 trained; cut after turn 2 of 4, as the context is 16 tokens" in out
    assert "11 tokens, 4 trained; turn 3 has no answer and is left out" in out
    assert "left out: its first answer does not fit into 16 tokens" in out
    assert re.search(r"^cut +1 +1 *$", out, re.M)
    assert re.search(r"^left out +1 +1 *$", out, re.M)


def test_the_figures_are_those_of_training(show, folio, finished, talk, run):
    out = show(talk).out
    found = {
        name.strip(): values.split() for name, values in re.findall(r"^(\S.*?)  +(\S+ +\S+) *$", out, re.M)
    }
    assert found == {
        "conversations": ["36", "4"],
        "turns": ["72", "8"],
        "cut": ["0", "0"],
        "left out": ["0", "0"],
        "tokens": ["396", "44"],
        "trained": ["36.4%", "36.4%"],
        "longest": ["11", "11"],
        "rows of 16": ["36", "4"],
        "filled": ["62.5%", "62.5%"],
    }
    flags = ("--device", "cpu", "--precision", "float32", "--compile", "off", "--run", run)
    assert folio("sft", finished, "--data", talk, *flags, "--micro-batch-size", 1).code == 0
    assert json.loads((run / "run.json").read_text())["plan"]["steps"] == 36  # one for each row


def test_others_are_drawn_with_a_seed(show, talk):
    shown = [
        [int(number) for number in re.findall(r"^Conversation (\d+)", show(talk, *flags).out, re.M)]
        for flags in ([], ["--seed", 1], ["--seed", 1], ["--seed", 2, "--num", 5], ["--num", 99])
    ]
    assert shown[0] == [1, 2, 3]
    assert shown[1] == shown[2] == sorted(shown[1]) != shown[0]
    assert len(set(shown[3])) == 5
    assert shown[4] == list(range(1, 41))


def test_the_plays_are_shown_too(show, monkeypatch):
    play = "".join(f"{'AB'[i % 2]}:\n{('cat', 'mat')[i % 2]}\n\n" for i in range(60))
    monkeypatch.setattr("folio.data.known.load_corpus", lambda _: Corpus("shakespeare", play, "a play"))
    out = show("shakespeare").out
    assert "Conversation 2 (speech 2)" in out
    assert "<|user|>mat<|end|>\n<|assistant|>⟦cat<|end|>⟧" in out


def test_what_leaves_no_mark_can_be_seen():
    assert visible("a\nb\x1b[31m\t\u200b—東") == "a↵\nb\\x1b[31m\\t\\u200b—東"


NO_CONVERSATIONS = {
    "unknown character": [turns("the", "cat"), turns("the", "a ξ"), turns("the", "cat")],
    "too long": [turns("the cat sat on a mat", "no!")] * 3,
    "nothing to learn": [turns("the")],
    "other lines": [{"text": "the cat"}],
    "one": [turns("the", "cat")],
    "none": [],
}


@pytest.mark.parametrize("records", NO_CONVERSATIONS.values(), ids=NO_CONVERSATIONS)
def test_mistakes_are_told_as_in_training(show, folio, finished, tmp_path, run, records):
    path = write(tmp_path / "talk.jsonl", *records)
    assert show(path).mistake == folio("sft", finished, "--data", path, "--run", run).mistake


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sow", "talk.jsonl"], "unknown command 'sow'. Usage: folio data show FILE --run RUN."),
        (["talk.jsonl"], "Usage: folio data show FILE --run RUN."),
        (["show", "talk.jsonl", "--num", "0"], "num is 0"),
        (["show", "talk.jsonl", "--seed", "-1"], "seed is -1"),
        (["show", "nothing.jsonl"], "nothing.jsonl cannot be read"),
        (["show", "--num", "1"], "no data are named: give a file"),
    ],
)
def test_mistakes_are_told_in_one_line(folio, arguments, told):
    assert told in folio("data", *arguments).mistake


def test_a_model_that_is_not_there(folio, talk, tmp_path):
    assert "no such run" in folio("data", "show", talk, "--run", tmp_path / "none").mistake


@pytest.mark.parametrize("arguments", [[], ["--help"], ["show", "--help"]])
def test_help_tells_of_its_flags(folio, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        folio("data", *arguments)
    assert caught.value.code == 0
    assert "--run" in capsys.readouterr().out


def test_a_model_without_chat_tokens_is_shown_with_those_that_sft_adds(folio, talk, tmp_path):
    foreign = BPETokenizer(gpt2_like().to_str())
    config = GPTConfig(vocab_size=foreign.vocab_size, block_size=64, n_layer=1, n_head=1, n_kv_head=1, n_embd=8,
                       head_size=8, mlp_size=8)  # fmt: skip
    save(GPT(config), foreign, tmp_path / "plain")
    outcome = folio("data", "show", talk, "--run", tmp_path / "plain")
    assert outcome.code == 0, outcome.err
    assert "<|bos|>\n<|user|>the<|end|>\n<|assistant|>⟦a m<|end|>⟧\n" in outcome.out
