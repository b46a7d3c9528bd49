"""Models that others made, with byte-level BPE: folio writes with them and teaches them to answer."""

import io
import itertools
import json
import shutil
from pathlib import Path
from threading import Event, Thread

import pytest
import torch
from byte_level import LIKE, LINES, OWN
from interrupting import ctrl_c_at
from random_models import TOKENIZER, random_gpt
from tiny_rl import make_talk
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from folio.errors import FolioWarning, UserError
from folio.files import read_lines
from folio.runs.load import find_model, load_for_inference, load_to_teach_chat, save
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.chat_template import prompt_ids

ROTARY = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2}
MODELS = {
    "gpt2": lambda v: GPT2LMHeadModel(
        GPT2Config(vocab_size=v, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    ),
    "llama": lambda v: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=v, max_position_embeddings=32, **ROTARY, num_key_value_heads=1, initializer_range=0.3
        )
    ),
    # A round number of rows, as real ones have: some are free.
    "qwen3": lambda v: Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=v + 8, max_position_embeddings=32, **ROTARY, num_key_value_heads=2, head_dim=8,
            tie_word_embeddings=True, initializer_range=0.3,
        )
    ),
}  # fmt: skip
QUICK = ("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1")


@pytest.fixture(params=MODELS)
def foreign(request, tmp_path):
    """A model directory that `transformers` wrote."""
    path = tmp_path / request.param
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=LIKE[request.param](), **OWN[request.param])
    MODELS[request.param](len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.jsonl"
    pairs = [("What is thy name?", "Zoë 😀"), ("the cat", "sat on a mat<|end|>")] * 8
    path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs))
    return path


@pytest.fixture
def tune(folio, foreign, talk, run):
    """Runs `folio sft` on it: a few steps."""
    flags = ("--data", talk, "--run", run, *QUICK, "--micro-batch-size", 2, "--epochs", 0.5)
    return lambda *more: folio("sft", foreign, *flags, *more)


def test_scores_of_old_tokens_are_theirs_before_and_after_growing(foreign):
    theirs = AutoModelForCausalLM.from_pretrained(foreign).eval()
    model, tokenizer = load_for_inference(foreign)
    larger, taught = load_to_teach_chat(foreign)
    n_known = tokenizer.vocab_size
    assert taught.vocab_size == n_known + 5
    assert larger.config.vocab_size == max(taught.vocab_size, model.config.vocab_size)
    mean = model.embedding.weight[:n_known].mean(0)
    torch.testing.assert_close(larger.embedding.weight[n_known : n_known + 5], mean.expand(5, -1))
    ids = torch.tensor([tokenizer.encode("the cat sat on a mat").tolist()])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(larger(ids)[..., :n_known], model(ids)[..., :n_known], rtol=0, atol=1e-6)


def test_it_is_taught_and_what_comes_out_is_open_to_all(tune, folio, run, monkeypatch):
    outcome = tune()
    assert outcome.code == 0, outcome.err
    assert len(read_lines(run / "metrics.jsonl")) >= 2
    assert "nats per token of the answers" in " ".join(outcome.out.split())
    model, tokenizer = load_for_inference(run)
    theirs = AutoModelForCausalLM.from_pretrained(run / "best").eval()
    their_tokenizer = AutoTokenizer.from_pretrained(run / "best")
    messages = [{"role": "user", "content": " the cat\n😀"}]
    ids = their_tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == prompt_ids(tokenizer, messages)
    with torch.inference_mode():
        row = torch.tensor([ids])
        torch.testing.assert_close(model(row), theirs(row).logits, rtol=1e-4, atol=1e-4)
    assert theirs.config.eos_token_id == tokenizer.special_ids["<|end|>"] == their_tokenizer.eos_token_id
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
    chat = folio("chat", run, "--tokens", 4)
    assert (chat.code, chat.err) == (0, "")
    assert folio("sample", run, "--prompt", "the cat", "--tokens", 4).code == 0


def test_a_run_that_was_stopped_goes_on_with_the_tokens_it_has(tune, foreign, run):
    with ctrl_c_at("step 1, val_loss"):
        assert tune().code == 130
    outcome = tune("--resume")
    assert outcome.code == 0, outcome.err
    assert "Resuming after step 1" in outcome.out
    assert load_for_inference(run)[1] == load_to_teach_chat(foreign)[1]


def test_it_can_be_tuned_again(tune, folio, run, talk, tmp_path):
    tune()
    again = folio(
        "sft", run, "--data", talk, "--run", tmp_path / "again", *QUICK, "--micro-batch-size", 2, "--epochs", 0.5
    )  # fmt: skip
    assert again.code == 0, again.err
    assert load_for_inference(tmp_path / "again")[1] == load_for_inference(run)[1]


@pytest.mark.parametrize("prompt", ["", "the cat 😀"])
def test_it_writes_without_having_been_taught(folio, foreign, prompt):
    done = folio("sample", foreign, "--prompt", prompt, "--tokens", 8)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(prompt)


def test_its_own_end_of_a_text_ends_an_answer(folio, foreign):
    """At this temperature any token comes about as often as the others, of which there are 300."""
    flags = ("--prompt", "the", "--temperature", 50)
    assert (
        folio("sample", foreign, *flags, "--tokens", 2500).out
        == folio("sample", foreign, *flags, "--tokens", 3000).out
    )


def test_without_a_token_to_begin_with_it_needs_a_prompt(folio, foreign):
    (foreign / "tokenizer_config.json").unlink()
    content = json.loads((foreign / "tokenizer.json").read_text())
    content["post_processor"], content["added_tokens"] = None, []
    (foreign / "tokenizer.json").write_text(json.dumps(content))
    assert "no token to begin a text with: give a prompt" in folio("sample", foreign).mistake
    assert folio("sample", foreign, "--prompt", "a", "--tokens", 2).code == 0


def test_before_it_is_taught_it_cannot_chat(folio, foreign):
    assert (
        f"{foreign} has no chat tokens; fine-tune it with `folio sft {foreign}` first"
        in folio("chat", foreign).mistake
    )


def test_it_is_not_explained(folio, foreign):
    assert "supports character models only" in folio("explain", foreign, "--text", "the").mistake


def test_the_tokenizer_of_a_larger_model_is_told(folio, foreign, talk, run):
    BPETokenizer.train(LINES, 320).save(foreign)
    for command in (["sample", foreign], ["sft", foreign, "--data", talk, "--run", run]):
        assert "they do not belong together" in folio(*command).mistake
    assert not run.exists()


RUN_INFO = {"format": 2, "status": "running", "stage": "sft"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "is neither a run nor a model directory: it has no run.json and no config.json."),
        (["run.json"], "is a run with no checkpoint yet."),
        (["b.toml", "a.toml"], "is a folder of recipes, not a model: it has a.toml, b.toml."),
    ],
)
def test_what_holds_no_model_is_told_without_a_word_on_commands(tmp_path, files, told):
    for name in files:
        (tmp_path / name).write_text(json.dumps(RUN_INFO))
    with pytest.raises(UserError) as caught:
        find_model(tmp_path)
    assert str(caught.value) == f"{tmp_path} {told}"


def test_a_run_whose_checkpoints_are_damaged_is_told(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RUN_INFO))
    (tmp_path / "checkpoints" / "step-2").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no valid checkpoint: .*step-2 is damaged"):
        find_model(tmp_path)


def test_a_path_that_is_not_there_names_the_runs_beside_it(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        find_model(tmp_path / "c")
    known = f"{tmp_path / 'a'}, {tmp_path / 'b'}"
    assert str(caught.value) == f"{tmp_path / 'c'}: no such run or model directory. Known: {known}."


# Damage: what folio wrote is checked wherever it is opened.


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARM = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}
FILES = (
    *("checksums.json", "config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
)


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_model_is_found_by_whatever_path_it_is_opened(copy, name, harm):
    step = copy / "checkpoints" / "step-20"
    for place in (copy / "best", step):
        HARM[harm](place / name)
        with pytest.raises(
            UserError, match=rf"{place.name} is damaged \(.*\)\. Name the run, {copy}"
        ) as error:
            find_model(place)
        assert name in str(error.value) or (name, harm) == ("checksums.json", "flipped")
    with pytest.warns(FolioWarning) as told:
        assert find_model(copy) == copy / "checkpoints" / "step-18"
    best, newest = (str(each.message) for each in told)
    assert "best is damaged (" in best
    assert f"`folio pretrain --run {copy} --resume` mends it" in best
    assert "step-20 is damaged" in newest


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "samples.jsonl", "loss.png"])
def test_a_damaged_file_of_a_run_stops_no_reader_with_a_traceback(folio, copy, name, harm):
    HARM[harm](copy / name)
    for command in (["runs", copy], ["sample", copy, "--tokens", 2], ["pretrain", "--run", copy, "--resume"]):
        outcome = folio(*command)
        assert outcome.code == 0 or outcome.mistake


def test_checksums_that_do_not_cover_the_model_are_damage(copy):
    path = copy / "best" / "checksums.json"
    whole = json.loads(path.read_text())
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        path.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        with pytest.raises(UserError, match=f"best is damaged .*does not cover {name}"):
            find_model(copy / "best")


def test_a_model_outside_of_a_run_is_checked_where_it_has_checksums(copy, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(copy / "best", alone)
    assert find_model(alone) == alone
    flip(alone / "model.safetensors")
    with pytest.raises(
        UserError, match=r"model\.safetensors has changed .* remove its checksums\.json if you changed"
    ):
        find_model(alone)
    (alone / "checksums.json").unlink()
    assert find_model(alone) == alone


def test_a_damaged_base_is_told_once(folio, copy, tmp_path):
    talk = make_talk(tmp_path / "words.jsonl")
    flip(copy / "best" / "model.safetensors")
    outcome = folio(
        "sft", copy, "--data", talk, "--run", tmp_path / "tuned", *QUICK, "--micro-batch-size", 2, "--epochs", 0.5
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("best is damaged") == 1


@pytest.mark.parametrize("name", ["model.safetensors", "checksums.json"])
def test_a_finished_run_with_a_damaged_best_model_is_mended_by_the_same_command(folio, finished, copy, name):
    flip(copy / "best" / name)
    outcome = folio("pretrain", "--run", copy, "--resume")
    assert outcome.code == 0, outcome.err
    assert "best is damaged" in outcome.out
    for each in ("best/model.safetensors", "best/checksums.json"):
        assert (copy / each).read_bytes() == (finished / each).read_bytes()
    assert [json.loads(line)["step"] for line in (copy / "metrics.jsonl").read_bytes().splitlines()] == [
        *range(1, 21)
    ]


def test_models_can_be_read_while_they_are_replaced(tmp_path):
    """Each version has one number in all weights, and its own number of layers."""
    best, done = tmp_path / "best", Event()
    models = [random_gpt(n_layer=n) for n in (1, 2)]
    for model in models:
        for parameter in model.parameters():
            parameter.requires_grad_(False).fill_(model.config.n_layer)
    save(models[0], TOKENIZER, best)

    def write():
        for number in itertools.count(1):
            if done.wait(0.05):
                return
            save(models[number % 2], TOKENIZER, best)

    thread = Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            model, _ = load_for_inference(best)
            assert {float(value) for p in model.parameters() for value in p.detach().unique()} == {
                model.config.n_layer
            }
    finally:
        done.set()
        thread.join()
