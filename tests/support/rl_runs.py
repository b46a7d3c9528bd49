"""Run directories of PPO and GRPO as training leaves them, written by hand: a healthy run, in which any figure can be
replaced by another course."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from folio.report.rl_history import History

Course = Callable[[float, int], float]
"""A figure at a share of the run (0 to 1) and in a pass over its rollout (from 0)."""
ROLLOUTS, PASSES, EVALUATIONS = 40, 2, 10
CONFIG = {
    "kl_coef": 0.05,
    "rollouts": ROLLOUTS,
    "validation_prompts": 64,
    "max_new_tokens": 120,
    "missing_stop_penalty": 1.0,
}
PROMPTS = ("What is thy name?", "Where is the king?")


def wobble(share: float) -> float:
    """What looks like chance and is the same each time: -1 to 1."""
    return math.sin(997 * share)


TRAINING: dict[str, Course] = {
    "gradient_norm": lambda share, _: 0.6 + 0.2 * wobble(share),
    "entropy": lambda share, _: 1.3 - 0.4 * share,
    "ratio": lambda share, which: 1 + (1e-7, 2e-3)[which] * wobble(share),
    "approx_kl": lambda _, which: (1e-9, 3e-3)[which],
    "clip_fraction": lambda _, which: (0.0, 0.08)[which],
    "reward": lambda share, _: 0.2 + 1.2 * share + 0.1 * wobble(share),
    "reward_std": lambda share, _: 1 - 0.4 * share,
    "kl": lambda share, _: 6 * share + 0.1 * wobble(share),
    "kl_k3": lambda share, _: 6 * share,
    "length": lambda share, _: 55 + 6 * share + wobble(share),
    "stop_share": lambda share, _: 0.9 + 0.08 * share,
}
OF_STAGE: dict[str, dict[str, Course]] = {
    "ppo": {"explained_variance": lambda share, _: 0.1 + 0.5 * share},
    "grpo": {"equal_groups": lambda share, _: 0.2 + 0.2 * share},
}
HELD_OUT: dict[str, Course] = {
    "val_reward": lambda share, _: 0.2 + 1.1 * share,
    "val_reward_std": lambda share, _: 1 - 0.4 * share,
    "val_kl": lambda share, _: 6 * share,
    "val_kl_k3": lambda share, _: 6 * share,
    "val_length": lambda share, _: 55 + 6 * share,
    "val_stop_share": lambda share, _: 0.9 + 0.08 * share,
    "val_gold": lambda share, _: 0.55 + 0.15 * share,
    "val_gold_std": lambda _, __: 0.15,
    "val_distinct_2": lambda share, _: 0.9 - 0.1 * share,
}


def records_of(stage: str, rollouts: int = ROLLOUTS, **courses: Course) -> tuple[list[dict], dict]:
    """The lines of metrics.jsonl, and what was measured before the first step."""
    training = {name: courses.get(name, course) for name, course in (TRAINING | OF_STAGE[stage]).items()}
    held_out = {name: courses.get(name, course) for name, course in HELD_OUT.items()}
    records = []
    total = rollouts * PASSES
    for step in range(1, total + 1):
        rollout, which = (step - 1) // PASSES + 1, (step - 1) % PASSES
        record = {
            "step": step,
            "tokens": 32 * step,
            "train_seconds": 0.5 * step,
            "loss": 1.0,
            "rollout": rollout,
        }
        record |= {name: course(rollout / rollouts, which) for name, course in training.items()}
        if step % math.ceil(total / EVALUATIONS) == 0 or step == total:
            record |= {name: course(rollout / rollouts, 0) for name, course in held_out.items()}
        records.append(record)
    return records, {name: course(0.0, 0) for name, course in held_out.items()}


def history_of(stage: str = "ppo", rollouts: int = ROLLOUTS, **courses: Course) -> History:
    """A run without files."""
    records, before = records_of(stage, rollouts, **courses)
    return History(stage, "finished", records, before, CONFIG)


def write_run(
    path: Path, stage: str = "ppo", rollouts: int = ROLLOUTS, kl_coef: float = 0.05, **courses: Course
) -> Path:
    """A run's directory."""
    path.mkdir(parents=True)
    records, before = records_of(stage, rollouts, **courses)
    write_lines(path / "metrics.jsonl", records)
    info = {"status": "finished", "stage": stage, "config": {**CONFIG, "kl_coef": kl_coef}, "before": before}
    info |= {"runtime": {}, "plan": {}, "data_sha256": ""}
    (path / "run.json").write_text(json.dumps(info))
    samples = [
        {"step": step, "prompt": prompt, "text": f"> {prompt}\nAn answer of step {step}."}
        for step in (8, 40, 80)
        for prompt in PROMPTS
    ]
    write_lines(path / "samples.jsonl", samples)
    return path


def write_lines(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
