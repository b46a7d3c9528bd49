"""Inputs that people bring: what each command must answer."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from processes import run
from safetensors.torch import load_file, save_file
from tiny import TINY, make_text
from tiny_rl import QUICK
from trial import Fault, Trial, crash, trial

from commands import Workshop

LINE = {"prompt": "the cat", "completion": "a mat"}
TRAIN = ("--run", "never", *TINY, "--steps", "2")
TUNE = ("--run", "never", *QUICK, "--micro-batch-size", "2", "--sample-tokens", "4", "--epochs", "0.1")
SAMPLE = ("--prompt", "cat", "--tokens", "4")
RL = (
    "--run",
    "never",
    "--data",
    "prompts.jsonl",
    "--rollouts",
    "1",
    "--rollout-size",
    "4",
    "--minibatch-size",
    "4",
    *("--max-new-tokens", "4", "--validation-prompts", "2"),
    *QUICK,
)


@dataclass(frozen=True)
class Case:
    """A command on an input. code: the right exit code; says: a pattern that its output must match, over spaces."""

    kind: str
    command: tuple[str, ...]
    code: int
    says: str = ""
    never: str = "Traceback"


def case(kind: str, command: str, code: int, says: str = "", never: str = "Traceback") -> Case:
    """Return a case from a command in one line."""
    return Case(kind, tuple(command.split()), code, says, never)


def with_flags(each: Case, flags: tuple[str, ...]) -> Case:
    verb, *rest = each.command
    return Case(each.kind, (verb, *flags, *rest), each.code, each.says, each.never)  # a later flag wins


def grouped(flags: tuple[str, ...], *cases: Case) -> list[Case]:
    """Return cases that share flags."""
    return [with_flags(each, flags) for each in cases]


CASES = [
    *grouped(
        SAMPLE,
        case("A1 a flipped byte", "sample flipped/best", 2, "best is damaged"),
        case("A1 checksums of nothing", "sample unchecked/best", 2, "best is damaged"),
        case("B2 a shard that is missing", "sample shards", 2, "model-00002"),
        case("B3 weights that are NaN", "sample nan", 2, "not finite|NaN"),
        case("B4 an embedding with free rows", "sample padded --temperature 50", 0),
        case("B5 a temperature near 0", "sample base --temperature 1e-40", 0),
        case("B7 a layer count without end", "sample huge", 2, "huge"),
        case("B7 answers without end", "sample base --num 100000000000", 2, "num"),
        case("B9 nesting in config.json", "sample nested", 2, "nested too deeply"),
        case("B9 a number of 5,000 digits", "sample digits", 2, "digits"),
        case("B10 a tokenizer of another library", "sample panic", 2, "tokenizer"),
        case("B10 a list as a token", "sample listed", 2, "tokenizer_config.json"),
        case("D a model that is not there", "sample nosuch", 2, "no such run"),
    ),
    case("A8 a prompt beyond the context", f"sample base --tokens 4 --prompt {'a' * 60}", 0, "does not see the first 44"),
    *grouped(
        TRAIN,
        case("A2 a text that has changed", "pretrain --data changed.txt --run changed", 2, "other data"),
        case("A3 a folder that is split", "pretrain --data split", 0, "valid"),
        case("A4 a folder of unlike files", "pretrain --data unlike", 0, "val_loss"),
        case("A5 JSON with texts", "pretrain --data docs.json", 0),
        case("A5 CSV with texts", "pretrain --data docs.csv", 0),
        case("A5 a folder of Markdown", "pretrain --data pages", 0),
        case("A6 a null in a table", "pretrain --data null.parquet", 0, "left out"),
        case("B7 layers without end", "pretrain --data words.txt --n-layer 1000000", 2, "n_layer|n-layer"),
        case("B7 tokens per step without end", "pretrain --data words.txt --micro-batch-size 1" + "0" * 22, 2),
        case("B7 threads without end", "pretrain --data words.txt --threads 100000", 2, "threads"),
        case("C3 a text without spaces", "pretrain --data dna.txt --tokenizer bpe --vocab-size 300", 0),
        case("C6 a device", "pretrain --data /dev/zero", 2, "/dev/zero"),
        case("D escape sequences in a text", "pretrain --data escape.txt", 0, "", "\x1b]0;"),
    ),
    *grouped(
        TUNE,
        case("A1 a flipped base", "sft flipped/best --data talk.jsonl", 2, "best is damaged"),
        case("A6 NaN as an answer", "sft base --data nan.jsonl", 2, r"nan\.jsonl.*(line|row) 2"),
        case("A7 a system prompt beside the turns", "sft base --data system.jsonl", 2, "character"),
        case("A7 a field that is not known", "sft base --data fields.jsonl", 0, "tools"),
        case("A8 a context above the model's", "sft base --data talk.jsonl --block-size 4096", 0, "block_size|context|reads"),
        case("A9 five conversations", "sft base --data five.jsonl", 0, "too few to learn"),
        case("C2 short chats in a long context", "sft long --data talk.jsonl", 0),
        case("B1 a folder of everything", "sft base --data .", 2),
        case("B3 a base of NaN", "sft nan --data talk.jsonl", 2, "not finite|NaN"),
        case("B6 a folder of nothing", "sft base --data empty", 2, "empty"),
        case("D characters that the model lacks", "sft base --data foreign.jsonl", 2, "character"),
    ),
    *grouped(
        RL,
        case("A10 a path that looks weighted", "ppo base --reward missing=0.01", 2, "missing"),
        case("B12 a loop without end", "ppo base --reward loops.py:f --reward-seconds 2", 2, "seconds"),
        case("B12 an exit", "ppo base --reward exits.py:f", 2, "exits.py"),
        case("B12 BaseException", "ppo base --reward raises.py:f", 2, "raises.py"),
        case("B12 an error without words", "ppo base --reward silent.py:f", 2, "silent.py"),
        case("B12 a hang at import", "ppo base --reward hangs.py:f --reward-seconds 2", 2, "hangs.py"),
        case("D a policy that is not there", "ppo nosuch --reward share.py:f", 2, "nosuch", "strive"),
    ),
    case("B9 a nested recipe", "pretrain nested.toml --data words.txt", 2, "nested"),
    case("B1 what a base model is shown", "data show talk.jsonl --run base", 0),
    case("A11 lines of metrics that are damaged", "runs damaged", 0, "left out"),
    case("D an unknown command", "pretrian", 2, "Did you mean pretrain"),
]  # fmt: skip


def inputs(shop: Workshop, quick: bool) -> Iterator[Trial]:
    """Give every input to its command."""
    bring(shop.folder)
    for each in CASES[:: 5 if quick else 1]:
        shutil.rmtree(shop.folder / "never", ignore_errors=True)
        outcome = run(each.command, shop.folder, limit=90)
        fault: Fault | None = crash(outcome)
        if not fault and outcome.code != each.code:
            fault = "wrong" if outcome.code else "silent"
        words = " ".join(outcome.output.split())
        if not fault and (not re.search(each.says, words) or each.never in outcome.output):
            fault = "silent" if outcome.code == 0 else "wrong"
        yield trial(f"{each.kind}: folio {' '.join(each.command)}", fault, outcome)


def bring(folder: Path) -> None:
    """Write the inputs."""
    text, chance = make_text(), random.Random(1)
    dna = "".join(chance.choices("ACGT", k=300_000))
    files: Mapping[str, str] = {
        "docs.json": json.dumps([{"text": text[at : at + 400]} for at in range(0, len(text), 400)]),
        "docs.csv": "text\n" + "".join(f'"{line}"\n' for line in text.splitlines()),
        "pages/a.md": text,
        "pages/below/b.md": text,
        "split/train.txt": text,
        "split/valid.txt": text,
        **{f"unlike/{kind}-{n}.txt": text for kind in ("books", "wiki") for n in range(4)},
        "dna.txt": dna,
        "escape.txt": "\x1b]0;owned\x07\x1b[31mred\x1b[0m the cat\n" * 100,
        "changed.txt": text,
        "five.jsonl": rows(LINE, n=5),
        "nested.toml": "a = " + "[" * 200_000,
        "loops.py": "def f(prompt, completion):\n    return sum(range(10**11))\n",
        "exits.py": "import os\ndef f(prompt, completion):\n    os._exit(0)\n",
        "raises.py": "def f(prompt, completion):\n    raise BaseException('no')\n",
        "silent.py": "class E(Exception):\n    def __str__(self):\n        raise self\n\ndef f(prompt, completion):\n    raise E\n",
        "hangs.py": "import time\ntime.sleep(1000)\n",
        "nan.jsonl": rows(LINE, {"prompt": "cat", "completion": float("nan")}),
        "system.jsonl": rows({"system": "Say Arr.", "conversations": [{"from": "human", "value": "cat"}, {"from": "gpt", "value": "mat"}]}),
        "fields.jsonl": rows({"messages": [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "mat"}], "tools": [{"name": "f"}]}),
        "foreign.jsonl": rows({"prompt": "QXZ", "completion": "JKV"}),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "empty").mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": [text, None, text]}), folder / "null.parquet")
    run(("pretrain", *TRAIN, "--data", "changed.txt", "--run", "changed"), folder)
    (folder / "changed.txt").write_text(text + "more", encoding="utf-8")
    merged = ("--data", "words.txt", "--tokenizer", "bpe", "--vocab-size", "300", "--run", "merged")
    run(("pretrain", *TRAIN, *merged), folder)
    shutil.copytree(folder / "merged" / "best", folder / "listed")
    (folder / "listed" / "checksums.json").unlink()
    write("tokenizer_config.json", '{"bos_token": ["x"]}', folder / "listed")
    spoil_runs(folder)
    spoil_models(folder)


def rows(*records: Mapping[str, Any], n: int = 20) -> str:
    """Return n lines of JSON, of these records in turn."""
    return "".join(json.dumps(records[i % len(records)]) + "\n" for i in range(n))


def spoil_runs(folder: Path) -> None:
    """Copy the base run, each time with something that has happened to it."""
    for name in ("flipped", "unchecked", "damaged"):
        shutil.copytree(folder / "base", folder / name)
    path = folder / "flipped" / "best" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 64
    path.write_bytes(content)
    (folder / "unchecked" / "best" / "checksums.json").write_text("{}")
    lines = (folder / "damaged" / "metrics.jsonl").read_text().splitlines()
    lines[3] = lines[3][:9]
    (folder / "damaged" / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def spoil_models(folder: Path) -> None:
    """Copy the base model, each time as a stranger's that has something wrong."""
    for name, spoil in SPOILED.items():
        shutil.copytree(folder / "base" / "best", folder / name)
        (folder / name / "checksums.json").unlink()
        spoil(folder / name)


def change_config(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def change_weights(path: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(path / "model.safetensors")
    changed = {name: change(name, value.clone()) for name, value in weights.items()}
    save_file(changed, path / "model.safetensors", metadata={"format": "pt"})


def pad(path: Path) -> None:
    """Give the embedding 64 rows more."""
    size = json.loads((path / "config.json").read_text())["vocab_size"]
    change_weights(
        path, lambda _, value: torch.cat((value, value[:1].expand(64, -1))) if len(value) == size else value
    )
    change_config(path, vocab_size=size + 64)


def lose_shard(path: Path) -> None:
    """Name two shards in an index, of which one is there."""
    names = list(load_file(path / "model.safetensors"))
    shard = "model-0000{}-of-00002.safetensors"
    (path / "model.safetensors").rename(path / shard.format(1))
    where = {name: shard.format(1 + n % 2) for n, name in enumerate(names)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def write(name: str, content: str, path: Path) -> None:
    (path / name).write_text(content)


SPOILED: Mapping[str, Callable[[Path], None]] = {
    "nan": partial(change_weights, change=lambda _, value: value * float("nan")),
    "padded": pad,
    "shards": lose_shard,
    "long": partial(change_config, max_position_embeddings=131_072),
    "huge": partial(change_config, num_hidden_layers=10**12),
    "nested": partial(write, "config.json", "[" * 200_000),
    "digits": partial(write, "config.json", '{"vocab_size": ' + "9" * 5000 + "}"),
    "panic": partial(write, "tokenizer.json", '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": [["a"]]}}'),
}  # fmt: skip
