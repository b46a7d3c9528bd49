"""folio label: a judge compares answers, and preferences come of it."""

import json
import re
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chatty import make_chatty
from tiny_rl import PAIRS, PROMPTS, QUICK, make_function, make_pairs

from folio import cli
from folio.commands.label import AnswerSampler, LabelConfig
from folio.data.conversations import Conversation
from folio.data.preferences import read_preferences
from folio.files import read_lines
from folio.log import Progress, make_console


def turns(*contents):
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


def write(path, *conversations):
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in conversations))
    return path


@pytest.fixture(scope="module")
def talker(finished, tmp_path_factory):
    """The tiny model, taught to say a word and end: only whole answers are compared."""
    folder = tmp_path_factory.mktemp("talker")
    words = ["mat", "a cat", "ran", "no!", "sat on"]
    talk = write(folder / "talk.jsonl", *(turns(PROMPTS[i % 8], words[i % 5]) for i in range(80)))
    rates = [flag for kind in ("", "head-") for flag in (f"--{kind}learning-rate", "0.02")]
    flags = ["--data", str(talk), "--run", str(folder / "run"), *QUICK, "--epochs", "8", *rates]
    assert cli.main(["sft", str(finished), *flags, "--prompt", "cat"]) == 0
    return folder / "run"


@pytest.fixture
def label(folio, talker, tmp_path):
    """Runs `folio label` on the tiny model: the more of the letter a, the better. Later flags win."""
    talk = write(tmp_path / "talk.jsonl", *(turns(PROMPTS[i % 8], "mat") for i in range(100)))
    judge = f"{make_function(tmp_path / 'judge.py', 'return completion.count(chr(97))')}:f"
    flags = ("--data", talk, "--judge", judge, "--out", tmp_path / "out", *QUICK, "--max-new-tokens", 8)
    return lambda *more, model=talker: folio("label", model, *flags, *more)


def made(tmp_path):
    return [
        record
        for name in ("train", "validation")
        for record in read_lines(tmp_path / "out" / f"{name}.jsonl")
    ]


def test_conversations_may_stand_in_a_table(label, tmp_path):
    rows = [{"question": PROMPTS[i % 8], "answer": "mat"} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "talk.parquet")
    outcome = label("--data", tmp_path / "talk.parquet")
    assert outcome.code == 0, outcome.err
    assert "talk.parquet" in "".join(outcome.out.split())
    assert {record["prompt"] for record in made(tmp_path)} <= {*PROMPTS}


def test_the_better_answer_is_chosen(label, tmp_path):
    outcome = label()
    assert outcome.code == 0, outcome.err
    records = made(tmp_path)
    assert len(records) > 20
    for record in records:
        assert record["prompt"] in PROMPTS
        assert record["chosen"].count("a") > record["rejected"].count("a")
    sides = Counter(side for record in records for side in ("chosen", "rejected") if record[side] == "mat")
    assert min(sides["chosen"], sides["rejected"]) > 0, (
        "the conversation's own answer is among those compared"
    )
    assert len({record["rejected"] for record in records}) > 5, "the model's own answers differ"


def test_a_time_limit_uses_fewer_prompts_from_all_of_the_data(label, tmp_path, monkeypatch):
    monkeypatch.setattr("folio.commands.label.BATCH", 16)
    done = label("--minutes", "0.0001")
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "of 100, as many as fit into 0.0001 minutes" in told
    # Of the 90 in 6 batches, those up to the first with a prompt that leaves room; and the 10 in one batch.
    n_used = int(re.search(r"(\d+) of 100", told)[1])
    assert n_used in {15 * n + 10 for n in range(1, 5)}
    assert label().out.count("already has these preferences") == 1


def test_a_damaged_origin_is_a_mistake(label, tmp_path):
    assert label().code == 0
    (tmp_path / "out" / "label.json").write_text("[" * 100_000)
    assert "label.json" in label().mistake


def test_unknown_characters_are_told_together(label, tmp_path):
    talk = write(tmp_path / "odd.jsonl", *(turns("a {~", "mat") for _ in range(20)))
    told = label("--data", talk).mistake
    assert "{" in told
    assert "~" in told


def test_what_it_makes_is_what_the_other_stages_read(label, folio, finished, tmp_path, run):
    label()
    train, validation = tmp_path / "out" / "train.jsonl", tmp_path / "out" / "validation.jsonl"
    assert len(read_preferences(train)) == len(read_lines(train))
    assert (
        folio(
            "reward",
            finished,
            "--data",
            train,
            "--validation",
            validation,
            "--run",
            run,
            *PAIRS,
            "--epochs",
            "0.1",
        ).code
        == 0
    )


def test_the_same_again_is_the_same_and_a_second_run_changes_nothing(label, tmp_path):
    label()
    first = made(tmp_path)
    again = label()
    assert (again.code, again.err) == (0, "")
    assert "already has these preferences" in again.out
    assert "was made with seed 1, not 2: choose another --out" in label("--seed", "2").mistake
    label("--out", tmp_path / "other")
    assert (
        read_lines(tmp_path / "other" / "train.jsonl")
        == first[: len(read_lines(tmp_path / "other" / "train.jsonl"))]
    )


def test_a_longer_conversation_is_asked_up_to_its_last_answer():
    """As PPO's prompts are; what instructions made of a text say about a request is about the last one."""
    model, tokenizer = make_chatty()
    sampler = AnswerSampler(LabelConfig(max_new_tokens=4), model, tokenizer, Progress(make_console(), 1))
    talk = Conversation(turns("a", "b", "c", "d"), "here", {"skill": "repeat"})
    ((messages, samples),) = sampler.answers([talk])
    assert messages == turns("a", "b", "c")
    assert samples[-1].completion == "d"
    assert samples[0].columns == {"skill": "repeat"}


def test_a_judge_gets_the_columns_that_it_asks_for(label, tmp_path):
    rows = [{"question": PROMPTS[i % 8], "answer": "mat", "wanted": "a"} for i in range(60)]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = tmp_path / "judge.py"
    judge.write_text("def f(prompt, completion, wanted):\n    return completion.count(wanted)\n")
    assert label().code == 0
    for record in made(tmp_path):
        assert record["chosen"].count("a") > record["rejected"].count("a")
    judge.write_text("def f(prompt, completion, unwanted):\n    return 1\n")
    assert (
        "asks for 'unwanted', a column that 60 of 60 prompts do not have"
        in label("--out", tmp_path / "other").mistake
    )


def test_ties_are_left_out(label, tmp_path):
    make_function(tmp_path / "judge.py", "return len(completion)")
    label("--tie", 0.5)
    some = len(read_lines(tmp_path / "out" / "train.jsonl"))
    label("--tie", 2.5, "--out", tmp_path / "fewer")
    assert 0 < len(read_lines(tmp_path / "fewer" / "train.jsonl")) < some


def test_equal_answers_are_no_pair_whatever_the_judge_says(label, tmp_path):
    """A judge may toss a coin, and a model that is sure of itself says the same twice."""
    make_function(tmp_path / "judge.py", "import random; return random.random()")
    assert label("--temperature", 0.05, 0.05, "--tie", 0).code == 0
    assert all(record["chosen"] != record["rejected"] for record in made(tmp_path))


def test_the_second_answer_may_be_bolder_than_the_first(label, tmp_path):
    def own_pairs(*temperatures: float) -> int:
        out = tmp_path / f"{temperatures[1]}"
        assert label("--temperature", *temperatures, "--tie", 0, "--out", out).code == 0
        return sum(
            "mat" not in (each["chosen"], each["rejected"]) for each in read_lines(out / "train.jsonl")
        )

    make_function(tmp_path / "judge.py", "return len(completion)")
    assert own_pairs(0.001, 0.001) == 0, "the likeliest answer twice is no pair"
    assert own_pairs(0.001, 5.0) > 10


def test_a_reward_model_may_judge(label, folio, finished, tmp_path, run):
    data = make_pairs(tmp_path / "pairs.jsonl", n=8)
    assert folio("reward", finished, "--data", data, "--run", run, *PAIRS).code == 0
    outcome = label("--judge", run)
    assert outcome.code == 0, outcome.err
    assert made(tmp_path)


def test_only_as_many_prompts_as_asked_for(label, tmp_path):
    outcome = label("--prompts", 20, "--validation-prompts", 10)
    assert "60 generated and judged" in " ".join(outcome.out.split())


def test_a_given_answer_that_is_too_long_for_the_context_is_left_out(label, tmp_path):
    """The judge, if it is a model, could not read it."""
    long = [turns("cat", "mat" * 9) for _ in range(50)]
    write(tmp_path / "talk.jsonl", *long, *(turns("cat", "mat") for _ in range(50)))
    assert label().code == 0
    assert not any("mat" * 9 in (record["chosen"], record["rejected"]) for record in made(tmp_path))


MISTAKES = {
    "no judge": (["--judge"], "--judge is required: name file.py:name or a reward model"),
    "no file": (["--judge", "absent.py:f"], "there is no Python file absent.py"),
    "no data": (["--data", "absent.jsonl"], "absent.jsonl cannot be read"),
    "no model": (["--judge", "absent"], "absent: no such run or model directory"),
    "no room": (["--max-new-tokens", "15"], "leaves room"),
    "no tokens": (["--max-new-tokens", "0"], "max_new_tokens is 0"),
    "no prompts": (["--prompts", "0"], "prompts is 0"),
    "no prompts to measure on": (["--validation-prompts", "0"], "validation_prompts is 0"),
    "temperature": (["--temperature", "-1", "1"], "temperature is -1.0: it must be at least 0.001"),
    "tie": (["--tie", "nan"], "tie is nan"),
    "nothing differs": (["--tie", "100"], "the judge finds no answer better than another"),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(label, tmp_path, flags, told):
    assert told in label(*flags).mistake
    assert not (tmp_path / "out").exists()


def test_a_judge_that_fails_is_told_and_an_unknown_character_too(label, tmp_path):
    make_function(tmp_path / "judge.py", "return None")
    assert "returned NoneType, not a number, for the prompt" in label().mistake
    make_function(tmp_path / "judge.py")
    write(tmp_path / "talk.jsonl", *(turns("cat", "mat") for _ in range(10)), turns("ξ", "mat"))
    assert "does not know: 'ξ' (1 time" in label().mistake


def test_models_without_chat_tokens_are_sent_to_sft(folio, tmp_path, run, label):
    from byte_level import OWN, qwen_like
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    plain = tmp_path / "plain"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=qwen_like(), **OWN["qwen3"])
    Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
            intermediate_size=24, num_hidden_layers=1, max_position_embeddings=32,
        )
    ).save_pretrained(plain)  # fmt: skip
    tokenizer.save_pretrained(plain)
    told = f"{plain} has no chat tokens; fine-tune it with `folio sft {plain}` first."
    pairs, judge = make_pairs(tmp_path / "pairs.jsonl"), f"{tmp_path / 'judge.py'}:f"
    assert told in label(model=plain).mistake
    assert told in folio("dpo", plain, "--data", pairs, "--run", run, *QUICK).mistake
    for stage in ("ppo", "grpo"):
        assert told in folio(stage, plain, "--data", pairs, "--reward", judge, "--run", run, *QUICK).mistake
    assert not run.exists()
