"""Preferences, prompts and reward functions for tiny runs of reward, dpo, ppo, grpo and label."""

import json
import random
from pathlib import Path

QUICK = ("--device", "cpu", "--precision", "float32", "--compile", "off", "--threads", "1")
PROMPTS = ["cat", "mat", "ran", "no!", "sat", "the", "on", "42"]
LETTERS = "theacsonmdr"
PAIRS = (*QUICK, "--micro-batch-size", "4", "--warmup-steps", "0")
"""For what learns from preferences."""
POLICY = (
    *(
        *QUICK,
        "--prompt",
        "cat",
        "--sample-tokens",
        "8",
        "--warmup-steps",
        "0",
        "--max-new-tokens",
        "8",
        "--validation-prompts",
        "4",
    ),
    *("--rollouts", "4", "--rollout-size", "8", "--minibatch-size", "4", "--micro-batch-size", "3"),
)
"""For what learns from rewards: 2 steps a pass."""
RATES = tuple(flag for kind in ("", "embedding-", "head-") for flag in (f"--{kind}learning-rate", "0.01"))


WORDS = ["the cat", "a mat", "ran on", "no!", "Zoë?"]


def make_talk(path: Path, n: int = 40) -> Path:
    """Conversations that fit into 16 tokens, two or four turns each."""
    roles = ("user", "assistant")
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            contents = [WORDS[(i + k) % len(WORDS)][:3] for k in range(2)]
            messages = [{"role": roles[k % 2], "content": content} for k, content in enumerate(contents)]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def make_pairs(path: Path, n: int = 40, wanted: str = "m") -> Path:
    """Pairs of words of which the better one has the wanted letter; both fit into 16 tokens with their prompt."""
    chance = random.Random(0)
    others = LETTERS.replace(wanted, "")
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            chosen, rejected = ("".join(chance.choices(others, k=chance.randint(2, 5))) for _ in range(2))
            at = chance.randrange(len(chosen))
            chosen = chosen[:at] + wanted + chosen[at:]
            pair = {"prompt": PROMPTS[i % 8], "chosen": chosen, "rejected": rejected + chance.choice(others)}
            file.write(json.dumps(pair) + "\n")
    return path


def make_prompts(path: Path, n: int = 24) -> Path:
    path.write_text("".join(json.dumps({"prompt": PROMPTS[i % 8]}) + "\n" for i in range(n)))
    return path


def make_function(path: Path, body: str = "return completion.count('a') / max(1, len(completion))") -> Path:
    """A file with a function `f`."""
    path.write_text(f"def f(prompt, completion):\n    {body}\n")
    return path
