"""folio ppo and folio grpo: a policy learns from rewards, and folio.report.policy tells of it."""

import json
from itertools import pairwise

import pytest
import torch
from tiny_rl import PAIRS, POLICY, RATES, make_function, make_pairs, make_prompts

from folio import cli
from folio.files import read_lines
from folio.model.directory import load_score_model
from folio.rl.ppo import build_critic
from folio.rl.rewards import ModelReward, WeightedSum
from folio.runs.load import load_for_inference
from folio.stages.dpo import DPORunConfig
from folio.stages.grpo import GRPORunConfig
from folio.stages.ppo import PPORunConfig
from folio.stages.reward import RewardRunConfig

BOTH = pytest.mark.parametrize("stage", ["ppo", "grpo"])
ROLLOUT = {"rollout", "reward", "reward_std", "kl", "kl_k3", "length", "stop_share"}
STEP = {"step", "tokens", "train_seconds", "loss", "learning_rate", "gradient_norm"}
LOSS = {"ratio", "approx_kl", "clip_fraction", "entropy"}
OWN = {
    "ppo": {"policy_loss", "value_loss", "value_clip_fraction", "explained_variance"},
    "grpo": {"kl_loss", "equal_groups"},
}
LISTENING = {f"val_prompt_{name}" for name in ("pmi", "pmi_error", "pmi_per_token", "wins")}
MEASURED = {"reward", "reward_std", "kl", "kl_k3", "length", "stop_share", "distinct_2", "gold", "gold_std"}


@pytest.fixture(scope="module")
def reward_model(finished, tmp_path_factory):
    """A reward model of the tiny model; do not change it."""
    folder = tmp_path_factory.mktemp("reward")
    flags = ("--data", str(make_pairs(folder / "pairs.jsonl")), "--run", str(folder / "rm"), *PAIRS)
    assert cli.main(["reward", str(finished), *flags, "--epochs", "0.3"]) == 0
    return folder / "rm"


@pytest.fixture
def function(tmp_path):
    """file.py:name of the share of the letter a."""
    return f"{make_function(tmp_path / 'share.py')}:f"


@pytest.fixture
def learn(folio, finished, tmp_path, run, function):
    """Runs `folio ppo` or `folio grpo` on the tiny model, by default for the letter a; later flags win."""
    data = make_prompts(tmp_path / "prompts.jsonl")

    def learn(stage, *flags, model=finished):
        own = ("--group-size", 4) if stage == "grpo" else ("--epochs", 2)
        reward = () if "--reward" in flags else ("--reward", function)
        return folio(stage, model, "--data", data, "--run", run, *POLICY, *own, *reward, *flags)

    return learn


@BOTH
def test_a_policy_learns_to_please(learn, run, stage):
    flags = ("--rollouts", 24, "--rollout-size", 32, "--minibatch-size", 16, "--micro-batch-size", 16)
    outcome = learn(stage, *flags, *RATES, "--missing-stop-penalty", 0)
    assert outcome.code == 0, outcome.err
    info, records = json.loads((run / "run.json").read_text()), read_lines(run / "metrics.jsonl")
    assert info["before"]["val_reward"] < 0.15
    assert records[0]["reward"] < 0.1
    assert records[-1]["reward"] > 0.2
    assert records[-1]["val_reward"] > 0.2
    assert records[-1]["kl"] > 0.5, "it has moved"
    assert f"{records[-1]['val_reward']:.3f} after" in outcome.out


@BOTH
def test_what_is_watched(learn, run, stage, reward_model):
    """Over-optimization shows in the gold reward, length, entropy and KL, not in the reward itself (Gao et al., 2022)."""
    assert learn(stage, "--gold", reward_model).code == 0
    info, records = json.loads((run / "run.json").read_text()), read_lines(run / "metrics.jsonl")
    steps = {"ppo": 4 * 2 * 2, "grpo": 4 * 2}[stage]
    assert [record["step"] for record in records] == list(range(1, steps + 1))
    always = STEP | LOSS | ROLLOUT | OWN[stage]
    assert all(record.keys() >= always for record in records)
    evaluated = [record for record in records if "val_reward" in record]
    assert records[-1] in evaluated
    for record in evaluated:
        # What the prompts are worth is measured where two of the answers differ.
        assert record.keys() - LISTENING == always | {f"val_{name}" for name in MEASURED}
    assert info["before"].keys() - LISTENING == {f"val_{name}" for name in MEASURED}
    assert info["before"].keys() & LISTENING in (LISTENING, set())
    assert (info["stage"], info["status"]) == (stage, "finished")
    assert [record["rollout"] for record in records] == [1 + i * 4 // steps for i in range(steps)]
    assert read_lines(run / "samples.jsonl")[-1].keys() == {"step", "prompt", "text"}


@BOTH
def test_the_first_step_of_each_rollout_is_the_first_pass(learn, run, stage):
    """Its ratio is 1, or the sampler and the trainer mean different distributions."""
    assert learn(stage, *RATES, "--temperature", 0.7, "--minibatch-size", 8, "--epochs", 2).code == 0
    records = read_lines(run / "metrics.jsonl")
    first = [now for before, now in zip([{"rollout": 0}, *records], records, strict=False)
             if now["rollout"] != before["rollout"]]  # fmt: skip
    assert len(first) == 4
    for record in first:
        assert record["ratio"] == pytest.approx(1, abs=1e-4)
        assert record["approx_kl"] == pytest.approx(0, abs=1e-5)
        assert record["clip_fraction"] == 0
    assert first[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert first[-1]["kl"] != pytest.approx(0, abs=1e-3)
    later = [now for before, now in pairwise(records) if now["rollout"] == before["rollout"]]
    assert any(record["ratio"] != pytest.approx(1, abs=1e-5) for record in later)


@BOTH
def test_how_many_rows_go_through_the_model_together_changes_nothing(learn, folio, run, tmp_path, stage):
    losses = []
    for size in (1, 8):
        at = tmp_path / str(size)
        assert (
            learn(stage, "--run", at, "--micro-batch-size", size, "--minibatch-size", 8, "--rollouts", 2).code
            == 0
        )
        losses.append(
            [
                (line["loss"], line["gradient_norm"], line["reward"])
                for line in read_lines(at / "metrics.jsonl")
            ]
        )
    for ones, eights in zip(*losses, strict=True):
        assert ones == pytest.approx(eights, rel=1e-3, abs=1e-5)


@BOTH
def test_what_it_makes_is_open_to_transformers_and_shown_again(learn, run, stage):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert learn(stage).code == 0
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
    again = learn(stage)
    assert (again.code, again.err) == (0, "")
    assert "already finished" in again.out


def test_the_critic_reads_as_the_reward_model_does_and_expects_nothing(finished, reward_model):
    """Where there is no reward model, it reads as the policy. What it learns reaches neither of them."""
    policy, _ = load_for_inference(finished, dropout=0.0)
    scorer = load_score_model(reward_model / "best").eval().requires_grad_(False)
    ids = torch.randint(0, 10, (2, 9))
    for parts, read in (([(ModelReward(scorer, 0), 1.0)], scorer), ([], policy)):
        critic = build_critic(WeightedSum(parts), policy)
        assert (critic(ids) == 0).all()
        assert torch.equal(critic.hidden_states(ids), read.hidden_states(ids))
        assert all(parameter.requires_grad for parameter in critic.parameters())
        before = read.hidden_states(ids)
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.add_(1)
        assert torch.equal(read.hidden_states(ids), before)


def test_a_reward_model_may_be_of_another_size(learn, folio, text_file, tmp_path, run):
    from tiny import TINY

    base, scorer = tmp_path / "narrow", tmp_path / "narrow-rm"
    assert folio("pretrain", "--data", text_file, "--run", base, *TINY, "--steps", 2, "--n-embd", 8).code == 0
    pairs = make_pairs(tmp_path / "pairs.jsonl", n=8)
    assert folio("reward", base, "--data", pairs, "--run", scorer, *PAIRS).code == 0
    outcome = learn("ppo", "--reward", scorer, "--rollouts", 1)
    assert outcome.code == 0, outcome.err


def test_dropout_is_off(learn, folio, text_file, tmp_path, run):
    """Or the policy that learns would not be the one that wrote, and the first ratios would not be 1."""
    from tiny import TINY

    base = tmp_path / "base"
    assert (
        folio("pretrain", "--data", text_file, "--run", base, *TINY, "--steps", 2, "--dropout", "0.5").code
        == 0
    )
    assert learn("ppo", "--rollouts", 1, model=base).code == 0
    assert read_lines(run / "metrics.jsonl")[0]["ratio"] == pytest.approx(1, abs=1e-4)


def test_rewards_are_added_by_weight(learn, run, tmp_path, reward_model):
    constant = f"{make_function(tmp_path / 'constant.py', 'return 10')}:f"
    other = f"{make_function(tmp_path / 'other.py', 'return 1')}:f"
    rewards = ("--reward", f"{constant}=0.5", f"{other}=-2", "--gold", other, "--missing-stop-penalty", 0)
    assert learn("grpo", *rewards, "--rollouts", 1).code == 0
    record = read_lines(run / "metrics.jsonl")[-1]
    assert (record["reward"], record["val_gold"], record["equal_groups"]) == (3.0, 1.0, 1.0)
    assert record["reward_std"] == 0


def test_an_answer_without_an_end_is_penalized_but_its_reward_is_not(learn, run, tmp_path):
    constant = f"{make_function(tmp_path / 'constant.py', 'return 1')}:f"
    assert learn("grpo", "--reward", constant, "--missing-stop-penalty", 5).code == 0
    records = read_lines(run / "metrics.jsonl")
    assert all(record["reward"] == 1 for record in records)
    assert any(record["equal_groups"] < 1 for record in records), "some answers ended, others did not"


MISTAKES = {
    "no reward": ([], "--reward is required"),
    "no file": (["absent.py:f"], "there is no Python file absent.py"),
    "no name": (["{folder}/share.py:g"], "has no function 'g'. It has f."),
    "no function": (["{folder}/share.py"], "share.py: name a function in it, as {folder}/share.py:NAME"),
    "not callable": (["{folder}/value.py:f"], "has no function 'f'"),
    "broken import": (["{folder}/broken.py:f"], "broken.py cannot be imported: SyntaxError"),
    "weight that is no number": (["{folder}/share.py:f=much"], "the weight 'much' is not a number"),
    "weight that is not finite": (["{folder}/share.py:f=nan"], "the weight 'nan' is not a number"),
    "no such model": (["absent"], "absent: no such run or model directory"),
    "a GPT": (["{finished}"], "holds no reward model: `folio reward` trains one"),
    "raises": (["{folder}/raises.py:f"], "raises.py:f raised ZeroDivisionError (division by zero), for the prompt"),
    "NaN": (["{folder}/nan.py:f"], "nan.py:f returned nan, not a finite number, for the prompt"),
    "text": (["{folder}/text.py:f"], "returned str, not a number"),
    "too slow": (["{folder}/slow.py:f"], "took more than 0.2 seconds"),
    "deaf": (["{folder}/deaf.py:f"], "took more than 0.2 seconds"),
    "leaves": (["{folder}/leaves.py:f"], "raised SystemExit"),
    "in C": (["{folder}/in_c.py:f"], "took more than 0.2 seconds"),
    "ends": (["{folder}/ends.py:f"], "ends.py:f ended its process (exit code 0), for the prompt"),
    "no exception": (["{folder}/base.py:f"], "raised BaseException (odd), for the prompt"),
    "asks for more": (["{folder}/asks.py:f"], "asks.py:f asks for 'answer', a column that 24 of 24 prompts do not have. Columns: prompt."),
}  # fmt: skip
BODIES = {
    "raises": "return 1 / 0",
    "nan": "return float('nan')",
    "text": "return 'good'",
    "slow": "import time; time.sleep(60)",
    "deaf": "\n    try:\n        while True: pass\n    except Exception:\n        return 1",
    "leaves": "raise SystemExit",
    "in_c": "return sum(range(2 * 10**12))",
    "ends": "import os; os._exit(0)",
    "base": "raise BaseException('odd')",
}


@pytest.mark.parametrize(("rewards", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_with_a_reward_is_told_in_one_line(
    learn, folio, finished, tmp_path, run, rewards, told
):
    for name, body in BODIES.items():
        make_function(tmp_path / f"{name}.py", body)
    (tmp_path / "value.py").write_text("f = 3\n")
    (tmp_path / "asks.py").write_text("def f(prompt, completion, answer):\n    return 1\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    make_function(tmp_path / "share.py")
    make_prompts(tmp_path / "prompts.jsonl")
    names = [each.format(folder=tmp_path, finished=finished) for each in rewards]
    given = ("--reward", *names) if names else ()
    flags = ("--data", tmp_path / "prompts.jsonl", "--run", run, *POLICY, "--reward-seconds", "0.2")
    outcome = folio("ppo", finished, *flags, *given)
    assert told.format(folder=tmp_path) in outcome.mistake
    assert not run.exists()


def test_a_reward_function_may_print_and_fork(learn, run, tmp_path):
    """Its child comes back from the function, too, and must not train."""
    body = "print(chr(33), flush=True); os.fork() if hasattr(os, 'fork') else 0; return 1"
    loud = make_function(tmp_path / "loud.py", body)
    loud.write_text("import os\n" + loud.read_text())
    outcome = learn("grpo", "--reward", f"{loud}:f", "--rollouts", 2)
    assert outcome.code == 0, outcome.err
    assert "!" not in outcome.out
    steps = [record["step"] for record in read_lines(run / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))


def test_a_reward_function_gets_the_columns_that_it_asks_for(learn, run, tmp_path):
    """In training and in evaluation. Other answers in the data are other data."""
    data = tmp_path / "problems.jsonl"
    data.write_text('{"prompt": "cat", "answer": 3}\n{"prompt": "mat", "answer": 3}\n' * 8)
    function = tmp_path / "asks.py"
    function.write_text("def f(prompt, completion, answer, **columns):\n    return answer + len(columns)\n")
    flags = ("--data", data, "--reward", f"{function}:f", "--rollouts", 1, "--missing-stop-penalty", 0)
    assert learn("grpo", *flags).code == 0
    record = read_lines(run / "metrics.jsonl")[-1]
    assert (record["reward"], record["val_reward"]) == (3.0, 3.0)
    data.write_text(data.read_text().replace("3", "4"))
    assert "learned from other data" in learn("grpo", *flags).mistake


def test_a_reward_model_is_no_policy_and_a_stranger_no_reward_model(
    learn, folio, reward_model, run, tmp_path
):
    from tiny import TINY

    assert (
        "holds a reward model: it scores text and cannot generate any"
        in learn("ppo", model=reward_model).mistake
    )
    (tmp_path / "other.txt").write_text("abcat mat " * 200)
    base, scorer = tmp_path / "other", tmp_path / "other-rm"
    assert folio("pretrain", "--data", tmp_path / "other.txt", "--run", base, *TINY, "--steps", 2).code == 0
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 2)
    assert folio("reward", base, "--data", tmp_path / "pairs.jsonl", "--run", scorer, *PAIRS).code == 0
    assert "has another tokenizer than the policy" in learn("ppo", "--reward", scorer).mistake
    assert not run.exists()


PROMPT_FILES = {
    "broken": ('{"prompt": "cat"}\n{"prompt": \n', "line 2: not valid JSON"),
    "empty": ("\n", "holds no prompts"),
    "one": ('{"prompt": "cat"}\n', "holds only one record: give at least two, or name validation data"),
    "unknown character": (
        '{"prompt": "cat"}\n{"prompt": "ξ"}\n',
        "'ξ' (1 time, first in the prompt 'ξ')",
    ),
    "too long": ('{"prompt": "the cat sat on a mat"}\n' * 3, "none of 2 prompts leaves room for an answer"),
}


@pytest.mark.parametrize(("content", "told"), PROMPT_FILES.values(), ids=PROMPT_FILES)
def test_prompts_that_cannot_be_answered(learn, tmp_path, run, content, told):
    (tmp_path / "prompts.jsonl").write_text(content, encoding="utf-8")
    assert told in learn("grpo").mistake
    assert not run.exists()


def test_prompts_without_room_are_left_out_and_counted(learn, tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text('{"prompt": "the cat sat on a mat"}\n{"prompt": "cat"}\n{"prompt": "mat"}\n')
    outcome = learn("grpo", "--data", path, "--validation", tmp_path / "prompts.jsonl", "--rollouts", 1)
    assert "1 of 3 prompts are longer than 8 tokens and left out\n" in outcome.err


NUMBERS = {
    "temperature": "0",
    "clip_range": "-1",
    "reward_seconds": "nan",
    "rollouts": "0",
    "max_new_tokens": "0",
    "micro_batch_size": "0",
    "validation_prompts": "0",
    "kl_coef": "nan",
    "missing_stop_penalty": "nan",
}


@pytest.mark.parametrize("name", NUMBERS)
@BOTH
def test_numbers_out_of_range_are_told(learn, run, stage, name):
    flag = "--" + name.replace("_", "-")
    assert f"{name} is {NUMBERS[name]}" in learn(stage, flag, NUMBERS[name]).mistake
    assert not run.exists()


OWN_NUMBERS = [
    ("grpo", "--group-size", "1", "group_size is 1: it must be at least 2"),
    ("grpo", "--group-size", "3", "rollout_size (8) must be a multiple of group_size (3)"),
    ("grpo", "--epochs", "0", "epochs is 0"),
    ("ppo", "--epochs", "0", "epochs is 0"),
    ("ppo", "--gamma", "1.5", "gamma is 1.5"),
    ("ppo", "--gae-lambda", "-0.1", "gae_lambda is -0.1"),
    ("ppo", "--vf-coef", "nan", "vf_coef is nan"),
    ("ppo", "--value-clip-range", "0", "value_clip_range is 0"),
]


@pytest.mark.parametrize(("stage", "flag", "value", "told"), OWN_NUMBERS)
def test_so_are_those_of_one_stage(learn, run, stage, flag, value, told):
    assert told in learn(stage, flag, value).mistake
    assert not run.exists()


@pytest.mark.parametrize("config", [PPORunConfig, GRPORunConfig, RewardRunConfig, DPORunConfig])
def test_adams_eps_is_the_papers(config):
    """Gradients are tiny near convergence, and a smaller one would make large steps of them."""
    settings = config().training
    assert settings.optimizer.eps == 1e-5
    assert getattr(settings, "pairs", settings).schedule.decay_fraction == 1.0
