"""A person's mistakes: each is one line that begins with "folio: ", exit code 2, and nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY, Folio, make_text

TEXTS = {
    "empty.txt": b"",
    "blank.txt": b" \n\n ",
    "binary.txt": b"abc\x00def" * 99,
    "latin1.txt": "Zoë sat".encode("latin-1") * 99,
    "utf16.txt": "the cat".encode("utf-16"),
    "short.txt": b"too short a text",
    "two.txt": b"ab",
    "monotone.txt": b"a" * 5000,
    "broken.jsonl": b'{"text": "a"}\n{"text"\n',
    "fake.parquet": b"PAR1 no",
}


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Good and bad texts in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name, content in TEXTS.items():
        Path(name).write_bytes(content)
    Path("good.txt").write_text(make_text(), encoding="utf-8")
    Path("folder").mkdir()
    Path("tests").mkdir()
    Path("tests/test.txt").write_text(make_text(), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("absent.txt", "absent.txt"),
        ("god.txt", "did you mean good.txt"),
        ("", "a path is empty"),
        ("empty.txt", "empty.txt is empty"),
        ("blank.txt", "blank.txt is empty"),
        ("binary.txt", "binary.txt looks like a binary file (byte 3 is 0)"),
        ("latin1.txt", "latin1.txt is not UTF-8 at byte 2"),
        ("utf16.txt", "utf16.txt looks like UTF-16"),
        ("short.txt", "needs at least 17 (block_size + 1)"),
        ("two.txt", "needs at least 17 (block_size + 1)"),
        ("monotone.txt", "holds only the character 'a'"),
        ("broken.jsonl", "broken.jsonl, line 2"),
        ("fake.parquet", "fake.parquet"),
        ("tests", "all files in tests are for testing"),
        pytest.param(
            "/dev/zero", "is not a regular file", marks=pytest.mark.skipif(os.name == "nt", reason="POSIX")
        ),
        ("folder", "folder has no .txt"),
    ],
)
def test_texts_that_cannot_be_trained_on(folio: Folio, texts, data, words):
    assert words in folio("pretrain", "--data", data, *TINY).mistake
    assert not list(Path().glob("runs/*/run.json"))


def test_a_text_too_short_for_what_folio_picks(folio: Folio, texts):
    assert "needs at least" in folio("pretrain", "--data", "short.txt", "--compile", "off").mistake


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "0"], "steps is 0: it must be at least 1"),
        (["--steps", "-5"], "steps is -5"),
        (["--n-layer", "0"], "n_layer is 0"),
        (["--n-head", "0"], "n_head is 0"),
        (["--n-head", "-2"], "n_head is -2"),
        (["--n-head", "3"], "n_embd (16) must be a multiple of n_head (3)"),
        (["--n-head", "16"], "head_size is 1"),
        (["--n-kv-head", "3"], "n_head (2) must be a multiple of n_kv_head (3)"),
        (["--n-kv-head", "1", "--architecture", "gpt2"], "n_kv_head"),
        (["--n-embd", "0"], "n_embd is 0"),
        (["--block-size", "0"], "block_size is 0"),
        (["--block-size", "100000"], "needs at least 100,001"),
        (["--mlp-size", "-1"], "mlp_size is -1"),
        (["--micro-batch-size", "0"], "micro_batch_size is 0"),
        (["--tokens-per-step", "0"], "tokens_per_step is 0"),
        (["--dropout", "1"], "dropout is 1.0"),
        (["--dropout", "nan"], "dropout is nan"),
        (["--minutes", "0"], "minutes is 0"),
        (["--minutes", "-1"], "minutes is -1"),
        (["--minutes", "nan"], "minutes is nan"),
        (["--seed", "-1"], "seed is -1"),
        (["--seed", str(2**64)], "seed is"),
        (["--threads", "0"], "threads is 0"),
        (["--device", "cuda"], "device cuda: not available on this machine"),
        (["--learning-rate", "0"], "learning_rate is 0"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--beta1", "1"], "beta1 is 1"),
        (["--max-norm", "-1"], "max_norm is -1"),
        (["--weight-decay", "-1"], "weight_decay is -1"),
        (["--warmup-steps", "-1"], "warmup_steps is -1"),
        (["--decay-fraction", "2"], "decay_fraction"),
        (["--run", "good.txt"], "good.txt: cannot be written"),
        (["--run", "."], "holds other files"),
        (["--run", "x" * 300], "cannot be written"),
        (["--run", "/proc/nothing/here"], "cannot be written"),
    ],
)
def test_flags_that_make_no_sense(folio: Folio, texts, monkeypatch, flags, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert words in folio("pretrain", "--data", "good.txt", *TINY, *flags).mistake
    assert not list(Path().glob("runs/*/run.json"))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("sise = 1", "unknown key sise. Did you mean size?"),
        ("[size]\nn_layers = 1", "unknown key size.n_layers. Did you mean size.n_layer?"),
        ("[size]\nn_layer = 'two'", "size.n_layer is 'two'; it must be of type int"),
        ("[size]\nn_layer = 2.5", "size.n_layer is 2.5; it must be of type int"),
        ("[size]\nsteps = 0", "steps is 0"),
        ("architecture = 'bert'", "architecture is 'bert'; it can be 'qwen3', 'llama', 'gpt2'"),
        ("size = 3", "size must be a table"),
        ("seed = ", "A recipe is a TOML file"),
    ],
)
def test_recipes_that_make_no_sense(folio: Folio, texts, recipe, words):
    Path("mine.toml").write_text(recipe)
    mistake = folio("pretrain", "mine.toml").mistake
    assert words in mistake
    assert "mine.toml" in mistake


def test_a_recipe_that_is_not_there(folio: Folio, texts):
    assert "no such recipe" in folio("pretrain", "recipes/shakespear").mistake
    assert "--data" in folio("pretrain", "my.txt").mistake
    Path("recipes/one").mkdir(parents=True)
    Path("recipes/one/pretrain.toml").write_text("")
    assert "recipes/one; for a text of your own use --data FILE" in folio("pretrain", "folder").mistake
    assert "no such recipe" in folio("pretrain", "x" * 300).mistake


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo", "ppo", "grpo"])
def test_a_start_that_is_not_there_is_told_before_anything_else(folio: Folio, texts, stage):
    """A mistyped name is no reason to miss a reward, or data."""
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/run.json").write_text("{}")
    words = "no such run or model directory, and no such recipe"
    assert f"runs/mien: {words}. Did you mean runs/mine?" in folio(stage, "runs/mien").mistake
    assert f"nosuch: {words}. Recipes: " in folio(stage, "nosuch").mistake
    assert words in folio(stage, "x" * 300).mistake


def test_a_mistyped_recipe_is_told(folio: Folio, texts):
    assert "Did you mean arithmetic?" in folio("grpo", "arithmetik").mistake
    assert "Did you mean shakespeare?" in folio("grpo", "shakespear").mistake


def test_a_broken_reference(folio: Folio, texts):
    Path("mine.toml").write_text("")
    Path("mine.reference.json").write_text("{")
    assert "It is not a reference" in folio("pretrain", "mine.toml").mistake


HOLD = """
import sys
from pathlib import Path
from folio.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_a_run_directory_in_use(folio: Folio, texts, flags):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "mine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "owned\n"
        mistake = folio("pretrain", "--data", "good.txt", "--run", "mine", *TINY, *flags).mistake
        assert "in use by another process" in mistake
        other.communicate()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"status": "running"}'])
def test_a_run_directory_half_written(folio: Folio, texts, content):
    Path("mine").mkdir()
    Path("mine/run.json").write_bytes(content)
    flags = ("--data", "good.txt", "--run", "mine", *TINY, "--resume")
    mistake = folio("pretrain", *flags).mistake
    assert "run.json" in mistake
    assert "damaged" in mistake


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--temperature", "-1"], "temperature is -1.0: it must be at least 0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--top-p", "0"], "top_p is 0.0: it must be above 0 and at most 1"),
        (["--top-p", "1.1"], "top_p is 1.1"),
        (["--top-k", "0"], "top_k is 0"),
        (["--min-p", "1"], "min_p is 1"),
        (["--repetition-penalty", "0"], "repetition_penalty is 0"),
        (["--tokens", "0"], "tokens is 0"),
        (["--num", "0"], "num is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "cuda"], "device cuda: not available on this machine"),
    ],
)
def test_sampling_that_makes_no_sense(folio: Folio, finished, monkeypatch, flags, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert words in folio("sample", finished, *flags).mistake


def test_a_model_that_is_not_there(folio: Folio, texts, finished):
    assert "no such run or model directory" in folio("sample", "runs/mine").mistake
    assert f"Known: {finished}." in folio("sample", finished.parent / "ran").mistake
    assert "folder is neither a run nor a model directory" in folio("sample", "folder").mistake
    assert "good.txt" in folio("sample", "good.txt").mistake
    assert "no such" in folio("sample", "x" * 300).mistake


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", json.dumps({"model_type": "bert"}).encode()),
        ("model.safetensors", b""),
        ("model.safetensors", None),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", None),
    ],
)
def test_a_model_that_is_damaged(folio: Folio, finished, tmp_path, name, content):
    shutil.copytree(finished / "best", tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    if content is not None:
        (tmp_path / "model" / name).write_bytes(content)
    assert str(tmp_path / "model") in folio("sample", tmp_path / "model").mistake


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "--nonsense"],
        ["pretrain", "--steps", "many"],
        ["pretrain", "--architecture", "bert"],
        ["sample"],
        ["sample", "a", "b"],
        ["sample", "a", "--device", "tpu"],
        ["doctor", "--threads", "x"],
    ],
)
def test_wrong_usage(folio: Folio, arguments):
    outcome = folio(*arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
