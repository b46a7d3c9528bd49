"""`folio run`: from a text to an assistant in one command."""

import json
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from tiny import make_text
from tiny_rl import make_talk

from folio.commands.run import ENDS, find_links, served
from folio.config import PACKAGED_RECIPES
from folio.log import make_console
from folio.runs.pace import FILE
from folio.stages import stage

RUNTIME = 'device = "cpu"\nprecision = "float32"\ncompile = "off"\nthreads = 1\n'
SMALL = {
    "pretrain": "[size]\nn_layer = 2\nn_head = 2\nn_embd = 16\nmlp_size = 24\nblock_size = 256\nmicro_batch_size = 2\n"
    "tokens_per_step = 512\nsteps = 3",
    "sft": "epochs = 0.5\nmicro_batch_size = 2",
    "reward": "",
    "grpo": "rollouts = 1\nrollout_size = 4\ngroup_size = 2\nvalidation_prompts = 4\nmax_new_tokens = 6\nminibatch_size = 4",
}
"""Small settings for the stages of any text. A model this small ends no answer, so preferences are given."""


@pytest.fixture
def recipes(tmp_path):
    """A tiny way: a text, conversations, and a reward that likes the letter a."""
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    make_talk(tmp_path / "talk.jsonl")
    (tmp_path / "likes.py").write_text("def an_a(prompt, completion):\n    return completion.count('a')\n")
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "pretrain.toml").write_text(
        f'data = "{tmp_path}/words.txt"\nrun = "{tmp_path}/base"\n[size]\nn_layer = 2\nn_head = 2\nn_embd = 16\n'
        "mlp_size = 24\nblock_size = 16\nmicro_batch_size = 2\ntokens_per_step = 64\nsteps = 5\n"
        f"[runtime]\n{RUNTIME}"
    )
    (folder / "sft.toml").write_text(
        f'model = "{tmp_path}/base"\nrun = "{tmp_path}/sft"\ndata = "{tmp_path}/talk.jsonl"\n[runtime]\n{RUNTIME}'
    )
    (folder / "grpo.toml").write_text(
        f'model = "{tmp_path}/sft"\nrun = "{tmp_path}/grpo"\ndata = "{tmp_path}/talk.jsonl"\n'
        f'reward = ["{tmp_path}/likes.py:an_a"]\nrollouts = 2\nrollout_size = 8\nmax_new_tokens = 6\n[runtime]\n{RUNTIME}'
    )
    return folder


def test_it_goes_the_whole_way_and_does_nothing_twice(folio, recipes, tmp_path):
    done = folio("run", recipes)
    assert done.code == 0, done.err
    for words in ("1 of 3: pretrain", "2 of 3: sft", "3 of 3: grpo", "Results"):
        assert words in done.out
    assert f"folio chat {tmp_path / 'grpo'}" in done.out
    for name in ("base", "sft", "grpo"):
        assert json.loads((tmp_path / name / "run.json").read_text())["status"] == "finished"
    before = {path: path.read_bytes() for path in tmp_path.glob("*/metrics.jsonl")}
    again = folio("run", recipes)
    assert again.out.count("is already finished") == 3
    assert {path: path.read_bytes() for path in tmp_path.glob("*/metrics.jsonl")} == before


def test_it_goes_on_where_it_was(folio, recipes, tmp_path, monkeypatch):
    train_to_end = stage.train_to_end

    def interrupted(recorder, *rest):
        if recorder.run.path != tmp_path / "base":
            raise KeyboardInterrupt
        train_to_end(recorder, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "train_to_end", interrupted)
        assert folio("run", recipes).code == 130
    assert json.loads((tmp_path / "base" / "run.json").read_text())["status"] == "finished"
    assert folio("run", recipes).code == 0


def test_a_folder_without_recipes_is_a_mistake(folio, tmp_path):
    assert "has no recipe" in folio("run", tmp_path).mistake


def test_a_text_that_is_not_there_is_a_mistake(folio, tmp_path):
    assert "nothing.txt is no text and has no recipe" in folio("run", tmp_path / "nothing.txt").mistake


def test_a_step_that_trains_nothing_is_run_in_its_place(folio, recipes, tmp_path):
    (recipes / "grpo.toml").unlink()
    (recipes / "label.toml").write_text(
        f'model = "{tmp_path}/sft"\nout = "{tmp_path}/label"\njudge = ["{tmp_path}/likes.py:an_a"]\n'
    )
    (tmp_path / "label").mkdir()
    for name in ("train", "validation"):  # the tiny model ends no answer, so a judge would make no pairs
        (tmp_path / "label" / f"{name}.jsonl").write_text("")
    done = folio("run", recipes)
    assert done.code == 0, done.err
    assert "3 of 3: label" in done.out
    assert "already has these preferences" in done.out


def test_a_recipe_that_was_not_timed_says_so(folio, recipes):
    assert "this recipe was not timed" in " ".join(folio("run", recipes).out.split())


@pytest.mark.parametrize("name", ["shakespeare", "plays", "arithmetic", "english"])
def test_each_stage_of_a_packaged_recipe_begins_with_what_one_before_it_makes(name):
    _, (first, *others) = find_links(PACKAGED_RECIPES / name)
    made = {first.output}
    for link in others:
        assert link.settings.model in made, link.name
        made.add(link.output)


def write_times(recipes, seconds):
    times = {
        "hardware": "a fast machine",
        "folio": "0.2",
        "date": "2026-11-26",
        "command": "python benchmarks/recipe_times.py",
        "pace": 1.0,
        "stages": {"pretrain": seconds, "sft": seconds, "grpo": seconds},
        "losses": {"0.0001": 3.5, "1": 1.25},
        "met": {"0": 0.0, "1": 0.75},
    }
    (recipes / FILE).write_text(json.dumps(times))


def test_the_time_and_the_quality_to_expect_are_told_first(folio, recipes, tmp_path):
    write_times(recipes, 1e6)
    done = folio("run", recipes, "--minutes", "1.5")
    assert done.code == 0, done.err
    told, _ = " ".join(done.out.split()).split("1 of 3")
    for words in (
        "for pretrain, sft, grpo",
        "a fast machine",
        "limit 1:30: fewer steps of each",
        "about 0% of its steps",
        "above 3.50",
        "reach 1.25",
        "expect 0% of requests to be met",
        "all steps reach 75%",
    ):
        assert words in told
    minutes = [
        json.loads((tmp_path / name / "run.json").read_text())["config"]["output"]["minutes"]
        for name in ("base", "sft", "grpo")
    ]
    assert all(0 < each < 1.5 for each in minutes)
    # All are finished: there is no time to tell.
    assert "a fast machine" not in folio("run", recipes).out


def test_a_time_that_is_long_enough_limits_nothing(folio, recipes):
    write_times(recipes, 1e-3)
    told = " ".join(folio("run", recipes, "--minutes", "9").out.split())
    assert "a fast machine" in told
    assert "expect a validation loss" not in told


def test_any_text_goes_the_whole_way_to_an_assistant(folio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("folio.data.known.N_INSTRUCTIONS", 60)
    monkeypatch.setattr("folio.data.known.N_HELD_OUT_INSTRUCTIONS", 40)
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    small = tmp_path / "small"
    small.mkdir()
    for name, settings in SMALL.items():
        (small / f"{name}.toml").write_text(f"{settings}\n[runtime]\n{RUNTIME}")
    monkeypatch.setattr("folio.commands.run.TEXT_RECIPES", small)
    for name in ("train", "validation"):
        pairs = [{"prompt": "cat", "chosen": f"a mat {n}", "rejected": f"no {n}"} for n in (2, 4)]
        path = tmp_path / "runs" / "words-label" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    done = folio("run", "words.txt")
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    for words in (
        "1 of 4: pretrain",
        "4 of 4: grpo",
        "requests met",
        "right prompt",
        "folio chat runs/words-grpo",
    ):
        assert words in told
    assert json.loads((tmp_path / "runs/words-sft/run.json").read_text())["data"].startswith(
        "instructions made of"
    )
    assert "is already finished" in folio("run", "words.txt").out


def test_the_plan_is_told_and_nothing_is_done(folio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    done = folio("run", "words.txt", "--runs", "elsewhere", "--minutes", "3", "--plan", "json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert [each["name"] for each in plan["stages"]] == ["pretrain", "sft", "label", "reward", "grpo"]
    assert plan["stages"][1]["output"] == str(Path("elsewhere") / "words-sft")
    assert not any(each["is_made"] for each in plan["stages"])
    told = plan["told"]
    assert "characters" in told["text"]
    assert "M parameters" in told["model"]
    assert "not compiled" in told["machine"]
    assert told["limit"] == "3:00 for all of them"
    assert "validation loss" in told["quality"]
    assert list(tmp_path.iterdir()) == [tmp_path / "words.txt"]
    shown = folio("run", "words.txt", "--plan", "show").out
    assert "stages    pretrain, sft, label, reward, grpo" in shown
    assert list(tmp_path.iterdir()) == [tmp_path / "words.txt"]


def test_the_plan_of_what_is_made_says_so(folio, recipes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    first = json.loads(folio("run", recipes, "--plan", "json").out)
    assert (
        first["told"]["too short"] == "5 steps are too few to learn much: --steps 100 would make about 100."
    )
    limited = json.loads(folio("run", recipes, "--plan", "json", "--minutes", "1").out)
    assert limited["told"]["too short"] == "5 steps are too few to learn much: give all of them more minutes"
    assert folio("run", recipes).code == 0
    plan = json.loads(folio("run", recipes, "--plan", "json").out)
    assert all(each["is_made"] for each in plan["stages"])
    assert plan["told"] == {}
    assert "made  pretrain, sft, grpo" in folio("run", recipes, "--plan", "show").out


def test_runs_of_a_text_go_where_they_are_told(tmp_path):
    (tmp_path / "words.txt").write_text(make_text(), encoding="utf-8")
    _, links = find_links(tmp_path / "words.txt", tmp_path / "all")
    assert [link.output.parent for link in links] == [tmp_path / "all"] * 5
    assert links[1].settings.model == tmp_path / "all" / "words"


@pytest.mark.parametrize("number", ENDS)
def test_what_ends_the_chain_ends_the_server(tmp_path, number):
    before, others = signal.getsignal(number), set(psutil.Process().children())
    started = []

    def end_in_it():
        with served(tmp_path / "runs", make_console()):
            started.extend(set(psutil.Process().children()) - others)
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as left:
        end_in_it()
    assert left.value.code == 128 + number
    assert [each.is_running() for each in started] == [False]
    assert signal.getsignal(number) is before


def test_the_runs_are_served_meanwhile_and_no_longer(capsys, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)

    def asked(address):
        with urlopen(f"{address}/health", timeout=10) as answer:
            return json.load(answer)

    with served(tmp_path / "runs", make_console()):
        (address,) = re.findall(r"http://[0-9.:]+", capsys.readouterr().out)
        for _ in range(1200):  # a busy machine takes long to start Python
            with suppress(OSError):
                assert asked(address) == {"status": "ok"}
                break
            time.sleep(0.1)
        else:
            pytest.fail("the server did not start")
    with pytest.raises(OSError, match="refused"):
        asked(address)
