"""Answers about an assistant, against the files of its runs."""

import json
import math
import shutil

import pytest
from rl_runs import write_run

from folio.errors import UserError
from folio.files import read_lines
from folio.report.quiz_answers import answer_for
from folio.report.quiz_chat import shown
from folio.report.quiz_run import FinishedRun, find_stage, read_finished_run
from folio.runs.directory import RunDirectory


def test_tokens_that_count_are_those_of_the_answer_and_its_end(chain):
    found = answer_for(find_stage(chain, "sft"), "tokens_that_count")
    user, answer = found.given.split("\n")
    assert user.startswith("user: ")
    assert found.value == len(answer.removeprefix("assistant: ")) + 1


def test_what_the_prompt_is_worth_is_that_of_the_last_evaluation(chain):
    found = answer_for(find_stage(chain, "sft"), "prompt_worth")
    records = RunDirectory(chain.with_name("run-sft")).read_metrics()
    assert found.value == [each["val_prompt_pmi"] for each in records if "val_prompt_pmi" in each][-1]


def test_a_ruler_prefers_the_longer_reply(tmp_path):
    pairs = [("longer", "short"), ("same", "size"), ("a", "long"), ("long", "a")]
    (tmp_path / "run-label").mkdir()
    (tmp_path / "run-label" / "label.json").write_text("{}")
    rows = [{"prompt": "?", "chosen": chosen, "rejected": rejected} for chosen, rejected in pairs]
    (tmp_path / "run-label" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = answer_for(find_stage(tmp_path / "run", "label"), "longer_wins")
    assert found.value == 100 * 2.5 / 4
    reply = answer_for(find_stage(tmp_path / "run", "label"), "preferred_reply")
    assert (reply.right.answer, reply.wrong[0].answer, reply.given) == ("longer", "short", "To: ?")
    assert "longer one" in reply.wrong[0].words


def test_the_reply_that_was_preferred_is_the_chosen_one(chain):
    row = read_lines(chain.with_name("run-label") / "validation.jsonl")[0]
    found = answer_for(find_stage(chain, "label"), "preferred_reply")
    assert found.right.answer == shown(row["chosen"])
    assert found.wrong[0].answer == shown(row["rejected"])


def test_replies_are_shown_on_one_line():
    assert shown("one\ntwo") == "one ↵ two"
    assert shown(" \n") == "↵"
    assert shown("") == "(nothing)"
    assert shown("x" * 200) == "x" * 160 + " ..."


def policy(tmp_path, **courses):
    """A run of PPO of which the quiz reads the figures only."""
    path = write_run(tmp_path / "run", **courses)
    made = RunDirectory(path)
    info = made.read_info()
    return FinishedRun(path, "policy", {}, {}, 1, made.read_metrics(), {}, info["before"])


def test_the_rise_of_the_reward_is_in_deviations_of_the_start(tmp_path):
    found = answer_for(policy(tmp_path), "reward_rise")
    assert found.value == pytest.approx(1.1)  # from 0.2 to 1.3, and the deviation was 1
    assert "gold reward, on which it was not trained, rose by 1.00" in found.working


def test_rewards_that_were_all_alike_have_no_unit(tmp_path):
    with pytest.raises(UserError, match="rewards were all alike"):
        answer_for(policy(tmp_path, val_reward_std=lambda share, _: 0.0), "reward_rise")


def test_an_average_token_is_likelier_by_its_share_of_the_kl(tmp_path):
    found = answer_for(policy(tmp_path), "likelier_by_token")
    assert found.value == pytest.approx(100 * (math.exp(6 / 61) - 1))


def test_steps_of_a_rollout_are_those_that_were_made(chain, tmp_path):
    found = answer_for(find_stage(chain, "policy"), "steps_per_rollout")
    records = RunDirectory(chain.with_name("run-ppo")).read_metrics()
    assert found.value == sum(record["rollout"] == 1 for record in records) == 2


def test_a_figure_that_was_never_recorded_is_named(chain, tmp_path):
    shutil.copytree(chain.with_name("run-sft"), tmp_path / "run-sft")
    (tmp_path / "run-sft" / "metrics.jsonl").write_text(
        '{"step": 1, "tokens": 4, "train_seconds": 1, "loss": 3}\n'
    )
    with pytest.raises(UserError, match=r"metrics\.jsonl has no val_prompt_pmi"):
        answer_for(read_finished_run(tmp_path / "run-sft"), "prompt_worth")
