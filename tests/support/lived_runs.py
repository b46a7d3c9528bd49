"""A folder of runs as somebody has who has trained a while: one of a text, an assistant, and two of reinforcement learning."""

import json
import shutil
from pathlib import Path

from random_models import TOKENIZER, random_gpt, random_scorer
from rl_runs import write_lines, write_run

from folio.runs.directory import RunDirectory
from folio.runs.load import save

QUESTIONS = [
    f"a {word} {other}" for word in ("bad", "fed", "dead") for other in ("cab", "cafe", "bee", "face")
]


def write_runs(folder: Path, finished: Path) -> Path:
    """Write words (pretrained, a copy of `finished`), talker (answers), better (grpo, from talker), judge (reward),
    deep/ppo (no model)."""
    shutil.copytree(finished, folder / "words")
    talk = folder.parent / "talk.jsonl"
    write_lines(talk, [{"prompt": question, "completion": "abc"} for question in QUESTIONS])
    write_assistant(folder / "talker", seed=1, stage="sft", model="words", data=str(talk))
    write_assistant(folder / "better", seed=2, stage="grpo", model="runs/talker")
    write_run(folder / "deep" / "ppo")
    write_judge(folder / "judge")
    write_run(folder / "sick", "grpo", entropy=lambda share, _: 1.3 - 1.2 * share)
    return folder


def write_judge(path: Path) -> None:
    """A reward model, whose samples are pairs that it scored."""
    write_assistant(path, seed=3, stage="reward", model="runs/talker")
    run = RunDirectory(path)
    for place in (run.best, run.checkpoint(10), run.checkpoint(20)):
        save(random_scorer(block_size=128), TOKENIZER, place)
    prompt = "<|bos|><|user|>a cab<|end|><|assistant|>bad<|end|><|user|>fed<|end|><|assistant|>"
    write_lines(
        run.samples_file, [{"step": 20, "prompt": prompt, "text": "chosen +1: abc\nrejected -1: def"}]
    )


def write_assistant(path: Path, seed: int, stage: str, **settings: str) -> Path:
    """A run whose model answers with letters of chance, and ends soon."""
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    save(random_gpt(seed, block_size=128), TOKENIZER, run.best)
    for step in (10, 20):
        save(random_gpt(seed + step, block_size=128), TOKENIZER, run.checkpoint(step))
    info = {"status": "finished", "stage": stage, "config": settings, "runtime": {}, "plan": {"steps": 20}}
    run.write_info({**info, "data_sha256": "", "before": {}})
    records = [
        {"step": step, "tokens": 32 * step, "train_seconds": 0.1 * step, "loss": 2.0 - 0.01 * step}
        | ({"val_loss": 1.9, "val_met": 0.5} if step % 10 == 0 else {})
        for step in range(1, 21)
    ]
    write_lines(run.metrics_file, records)
    samples = [{"step": step, "prompt": "a bad cab", "text": f"> a bad cab\nfed {step}"} for step in (10, 20)]
    write_lines(run.samples_file, samples)
    assert json.loads(run.info_file.read_text())["stage"] == stage
    return path
