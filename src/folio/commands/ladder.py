"""Train the lecture's models, from a bigram table to a GPT, one part at a time, and compare their losses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW, Optimizer

from folio import __version__
from folio.config import Count, Decay, Few, Many, Positive, Settings, Source, to_table
from folio.data.corpora import Corpus, load_corpus, require_length
from folio.data.windows import RandomWindows, validation_windows
from folio.errors import UserError
from folio.evaluation.loss import evaluate
from folio.files import append_line, drop_damaged_lines, read_lines, write_file
from folio.lecture.ladder import LADDER, LAPTOP, LECTURE, Rung, Size
from folio.lecture.parts import LanguageModel, generate
from folio.log import Progress, format_duration, make_console
from folio.objectives.next_token import next_token_loss
from folio.report.ladder import RESULTS, Result, Row, draw_ladder, is_result, show_ladder, show_result
from folio.runs.directory import FORMAT, RunDirectory
from folio.runs.flags import read_config
from folio.runs.settings import stored_config
from folio.runtime import Runtime, RuntimeConfig, describe, start_runtime
from folio.tokenizer.char import CharTokenizer
from folio.training.loop import Accumulated, NonFiniteLossError, optimizer_steps
from folio.training.muon import Muon
from folio.training.schedule import ScheduleConfig

LECTURE_LOSSES = {
    "bigram": 2.5,
    "single_head": 2.40,
    "multi_head": 2.28,
    "feed_forward": 2.24,
    "residual": 2.08,
    "layer_norm": 2.06,
    "scale_up": 1.48,
}
"""Validation losses published in the lecture, the last one at the lecture's size."""
FULL = {LAPTOP: LECTURE}
"""The lecture's size for each size that replaces it on a laptop."""
FEW_STEPS = 100
VALIDATION_TOKENS = 8192
"""Tokens per batch of validation windows."""
SAMPLE_TOKENS = 200
MUON_LEARNING_RATE = 0.02
"""The Shakespeare recipe's; AdamW uses the rung's own for the other parameters."""
CONSTANT = ScheduleConfig(warmup_steps=0, decay_fraction=0.0)
"""The lecture's schedule: a constant learning rate."""


@dataclass(frozen=True, kw_only=True)
class LadderConfig(Settings):
    """Settings of `folio ladder`; sizes that are not given are each rung's own."""

    rungs: str = ""
    """Rungs to train, separated by commas, as in bigram,single_head; by default all."""
    seeds: Few = 1
    """Train each rung with this many seeds, and show mean and standard deviation."""
    full: bool = False
    """Train the upper rungs at the lecture's size (10.8 million parameters), for a GPU."""
    data: Source = "shakespeare"
    """Text, as for folio pretrain: shakespeare, a file or a folder."""
    validation: Source | None = None
    """Validation text, in the same form; by default a folder's files of that name, or else a tenth of the data."""
    run: Path | None = None
    """Directory for the results; by default the first free one of runs/ladder, runs/ladder-2, ..."""
    resume: bool = False
    """Resume the ladder in --run; finished rungs are not trained again."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device."""
    steps: Count | None = None
    """Optimizer steps."""
    batch_size: Many | None = None
    """Windows per step."""
    block_size: Many | None = None
    """Context length in tokens."""
    n_embd: Many | None = None
    """Width of the residual stream."""
    n_head: Few | None = None
    """Attention heads of each block."""
    n_layer: Few | None = None
    """Transformer blocks."""
    dropout: Decay | None = None
    """Dropout probability."""
    learning_rate: Positive | None = None
    """AdamW's learning rate; Muon keeps its own."""


@dataclass(frozen=True)
class Texts:
    """The training and validation text of all rungs, as ids of a vocabulary without special tokens."""

    tokenizer: CharTokenizer
    train_ids: Tensor
    val_ids: Tensor

    @property
    def vocab_size(self) -> int:
        return len(self.tokenizer.characters)


def main(arguments: Sequence[str]) -> None:
    """Run `folio ladder [flags]`."""
    config = read_config(LadderConfig, arguments, recipe=None, prog="folio ladder", description=__doc__)
    ladder(config, make_console())


def ladder(config: LadderConfig, console: Console) -> None:
    """Train the chosen rungs with each seed, then print and draw the results."""
    config = replace(config, rungs=",".join(names_in(config.rungs)) if config.rungs else "")
    run = find_run(config)
    if run.exists:
        with run.owned():
            config = stored_config(run, config, stage="ladder", resume=config.resume)
    sizes = {name: size_of(LADDER[name], config) for name in names_in(config.rungs)}
    corpus = load_corpus(config.data, config.validation)
    for notice in corpus.notices:
        console.print(notice, soft_wrap=True)
    with run.owned():
        if run.exists and run.read_info()["status"] == "finished":
            console.print(f"{run.path} is already finished:", soft_wrap=True)
        else:
            train_rungs(config, sizes, corpus, run, console)
        show_ladder(read_rows(run, sizes), console)
    console.print(f"table  {run.path / 'ladder.json'}\nchart  {run.path / 'ladder.png'}", soft_wrap=True)


def train_rungs(
    config: LadderConfig, sizes: dict[str, Size], corpus: Corpus, run: RunDirectory, console: Console
) -> None:
    """Train the rungs that are not finished, writing the table and the chart after each."""
    texts = read_texts(corpus, max(size.block_size for size in sizes.values()))
    # The lecture's parts are simple code, which supports neither bfloat16 nor compilation.
    runtime = start_runtime(RuntimeConfig(device=config.device, precision="float32", compile="off"))
    begin(config, sizes, corpus, runtime, run)
    show_plan(config, sizes, runtime, console)
    try:
        for number, (name, size) in enumerate(sizes.items(), start=1):
            for seed in range(1, config.seeds + 1):
                place = f"rung {number} of {len(sizes)}, {name}" + (
                    f", seed {seed}" if config.seeds > 1 else ""
                )
                run_trial(Trial(name, size, seed, place), texts, runtime, run, console)
            write_table(read_rows(run, sizes), run)
            draw_ladder(read_rows(run, sizes), run.path / "ladder.png")
    except KeyboardInterrupt:
        run.set_status("interrupted")
        command = f"folio ladder --run {shlex.quote(str(run.path))} --resume"
        raise KeyboardInterrupt(f"Resume with: {command}") from None
    except UserError:
        run.set_status("failed")
        raise
    run.set_status("finished")


def find_run(config: LadderConfig) -> RunDirectory:
    """Return the run directory in the settings, or the first free one."""
    if config.run is not None:
        return RunDirectory(config.run)
    if config.resume:
        raise UserError("--resume needs a ladder to resume, as in --run runs/ladder --resume.")
    names = ("ladder" if number == 1 else f"ladder-{number}" for number in count(1))
    return next(RunDirectory(path) for name in names if not (path := Path("runs") / name).exists())


def names_in(rungs: str) -> list[str]:
    """Return the names in a comma-separated list in the ladder's order. Raises UserError for an unknown rung."""
    names = [name for part in rungs.split(",") if (name := part.strip())] or list(LADDER)
    for name in names:
        if name not in LADDER:
            close = get_close_matches(name, LADDER, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise UserError(f"unknown rung {name!r}. {hint}Known: {', '.join(LADDER)}.")
    return [name for name in LADDER if name in names]


def size_of(rung: Rung, config: LadderConfig) -> Size:
    """Return the rung's size with the given settings in place of its own. Raises UserError if they do not fit."""
    size = FULL.get(rung.size, rung.size) if config.full else rung.size
    given = {each.name: getattr(config, each.name) for each in fields(Size)}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    if size.n_embd % (2 * size.n_head):
        raise UserError(
            f"n_embd is {size.n_embd} and n_head {size.n_head}: n_embd must be a multiple of twice n_head, "
            "as heads share the width, and rotary positions rotate pairs."
        )
    return size


def read_texts(corpus: Corpus, block_size: int) -> Texts:
    """Encode both parts of a text. Raises UserError if one is shorter than a window."""
    tokenizer = CharTokenizer.train(corpus.text)
    train_text, val_text = corpus.split()
    require_length(train_text, block_size + 1, "The training text")
    require_length(val_text, block_size + 1, "The validation text")
    train_ids, val_ids = (torch.from_numpy(tokenizer.encode(text)) for text in (train_text, val_text))
    return Texts(tokenizer, train_ids, val_ids)


def begin(
    config: LadderConfig, sizes: dict[str, Size], corpus: Corpus, runtime: Runtime, run: RunDirectory
) -> None:
    """Write run.json, or, to resume, check that text, sizes and versions are the same."""
    same = {
        "data_sha256": corpus.sha256,
        "plan": {name: asdict(size) for name, size in sizes.items()},
        "folio": __version__,
        "torch": torch.__version__,
    }
    if run.exists:
        info = run.read_info()
        names = {
            "data_sha256": "another text",
            "plan": "other sizes",
            "folio": "another folio",
            "torch": "another torch",
        }
        for key, what in names.items():
            if info.get(key) != same[key]:
                raise UserError(
                    f"{run.path} was started with {what}, so losses are not comparable: choose another --run."
                )
        drop_damaged_lines(run.path / RESULTS)
        run.set_status("running")
        return
    run.write_info(
        {
            "format": FORMAT,
            "status": "running",
            "stage": "ladder",
            "hardware": describe(runtime.device),
            "config": to_table(config),
            "runtime": runtime.to_table(),
            "text": corpus.origin,
            **same,
        }
    )


def show_plan(config: LadderConfig, sizes: dict[str, Size], runtime: Runtime, console: Console) -> None:
    """Print the plan, and a warning if training is too short or takes very long."""
    models = f"{len(sizes)} rungs" if len(sizes) > 1 else f"the rung {next(iter(sizes))}"
    seeds = f", each with {config.seeds} seeds" if config.seeds > 1 else ""
    console.print(f"Training {models}{seeds} on {describe(runtime.device)}.", soft_wrap=True)
    few = min(size.steps for size in sizes.values())
    if few < FEW_STEPS:
        console.print(
            f"{few} steps are too few: these losses say nothing about the parts.",
            soft_wrap=True,
        )
    if runtime.device.type == "cpu" and LECTURE in sizes.values():
        console.print(
            "The lecture's size is for a GPU: on this machine a rung takes many hours.", soft_wrap=True
        )


@dataclass(frozen=True)
class Trial:
    """A rung to train with a seed. place: its number among all trials, as text."""

    rung: str
    size: Size
    seed: int
    place: str


def run_trial(trial: Trial, texts: Texts, runtime: Runtime, run: RunDirectory, console: Console) -> None:
    """Train and evaluate a rung with a seed, unless it is done, and append the result to results.jsonl."""
    done = {(line["rung"], line["seed"]) for line in read_lines(run.path / RESULTS, is_result)}
    if (trial.rung, trial.seed) in done:
        return
    size = trial.size
    progress = Progress(console, size.steps)
    with progress.shown():
        model, seconds = train(trial, texts, runtime, progress)
    windows = validation_windows(texts.val_ids, size.block_size, max(1, VALIDATION_TOKENS // size.block_size))
    result = Result(
        rung=trial.rung,
        seed=trial.seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        val_loss=evaluate(model, windows)["loss"],
        seconds=seconds,
        text=generate_text(model, size.block_size, texts, trial.seed),
    )
    append_line(run.path / RESULTS, asdict(result))
    show_result(result, console)


def train(trial: Trial, texts: Texts, runtime: Runtime, progress: Progress) -> tuple[LanguageModel, float]:
    """Train a model and return it with the training time in seconds. Raises UserError if it diverges."""
    rung, size = LADDER[trial.rung], trial.size
    torch.manual_seed(trial.seed)
    model = rung.build(texts.vocab_size, size).to(runtime.device)
    windows = RandomWindows(
        texts.train_ids, block_size=size.block_size, batch_size=size.batch_size, seed=trial.seed
    )
    reports = optimizer_steps(
        model,
        next_token_loss,
        Accumulated(windows, 1),
        OPTIMIZERS[rung.optimizer](model, size),
        CONSTANT,
        last_step=lambda: size.steps,
        max_norm=0.0,
    )
    seconds = 0.0
    try:
        for report in reports:
            seconds += report.seconds
            left = (size.steps - report.step) * seconds / report.step
            progress.update(
                report.step, {trial.place: "", "loss": f"{report.loss:.3f}", "left": format_duration(left)}
            )
    except NonFiniteLossError as error:
        raise UserError(
            f"{trial.rung}: the loss was not finite at step {error.step}. "
            "Try a lower --learning-rate, in another --run."
        ) from None
    return model, seconds


def adamw(model: LanguageModel, size: Size) -> list[Optimizer]:
    """Return the lecture's optimizer (Loshchilov & Hutter, 2019), with torch's defaults."""
    return [AdamW(model.parameters(), lr=size.learning_rate, fused=True)]


def muon(model: LanguageModel, size: Size) -> list[Optimizer]:
    """Return Muon for the matrices of the body, and AdamW for all other parameters."""
    matrices = [parameter for parameter in model.body.parameters() if parameter.ndim == 2]
    muon_ids = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in muon_ids]
    return [
        Muon(matrices, lr=MUON_LEARNING_RATE, dtype=torch.float32),
        AdamW(rest, lr=size.learning_rate, fused=True),
    ]


OPTIMIZERS: dict[str, Callable[[LanguageModel, Size], list[Optimizer]]] = {"adamw": adamw, "muon": muon}


def generate_text(model: LanguageModel, block_size: int, texts: Texts, seed: int) -> str:
    """Generate SAMPLE_TOKENS characters without a prompt: only the start of a line goes before them."""
    characters = texts.tokenizer.characters
    start = texts.tokenizer.encode("\n" if "\n" in characters else characters[0])
    device = next(model.parameters()).device
    model.eval()
    torch.manual_seed(seed)
    ids = generate(model, torch.from_numpy(start).long()[None].to(device), SAMPLE_TOKENS, block_size)
    return texts.tokenizer.decode(ids[0, 1:].tolist())


def read_rows(run: RunDirectory, sizes: Mapping[str, Size]) -> list[Row]:
    """Return the results of each rung over all seeds, without rungs that have none.

    Raises UserError if there are no results at all.
    """
    results = [Result(**line) for line in read_lines(run.path / RESULTS, is_result)]
    if not results:
        raise UserError(f"{run.path / RESULTS} is damaged: it has no results. Choose another --run.")
    by_rung = {name: [result for result in results if result.rung == name] for name in sizes}
    return [
        Row(name, LADDER[name].added, LECTURE_LOSSES.get(name), sizes[name].steps, found)
        for name, found in by_rung.items()
        if found
    ]


def write_table(rows: Sequence[Row], run: RunDirectory) -> None:
    """Write the table to ladder.json, for other programs."""
    table = [
        {
            "rung": row.name,
            "added": row.added,
            "parameters": row.parameters,
            "val_loss": round(row.val_loss, 4),
            "seconds": round(row.seconds, 1),
            "lecture_loss": row.lecture_loss,
        }
        for row in rows
    ]
    write_file(run.path / "ladder.json", (json.dumps(table, indent=2) + "\n").encode())
