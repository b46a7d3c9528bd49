"""Pretraining: from a text to a GPT that continues it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from folio.checkpoint import newest_whole
from folio.config import from_table, read_config
from folio.data.corpora import Corpus, load_corpus, pieces, require_length
from folio.data.windows import RandomWindows, validation_windows
from folio.errors import UserError
from folio.evaluation.loss import HeldOut
from folio.files import read_lines
from folio.log import Progress, make_console
from folio.model.architectures import ARCHITECTURES
from folio.model.gpt import GPT
from folio.objectives.next_token import next_token_loss
from folio.report.loss_figure import plot_losses
from folio.report.pretrain import show_choices, show_estimate, show_result
from folio.report.reference import Reference
from folio.runs.directory import RunDirectory
from folio.runs.recipes import known_recipes, take_recipe
from folio.runs.recorder import Watch
from folio.runs.rehearsal import Rehearsal, rehearse
from folio.runs.samples import Continuation
from folio.runs.settings import stored_config
from folio.runs.state import Training
from folio.runs.train import begin_run, resume, train
from folio.runtime import (
    Runtime,
    RuntimeConfig,
    available_memory,
    peak_memory,
    restore_runtime,
    start_runtime,
)
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer
from folio.tokenizer.directory import load_tokenizer
from folio.tokenizer.protocol import Tokenizer
from folio.training.loop import accumulate
from folio.training.optimizer import OptimizerConfig, build_optimizers
from folio.training.plan import Plan, SizeConfig, choose_plan, choose_steps, reasons
from folio.training.schedule import ScheduleConfig

VALIDATION_BATCH_SIZE = 32
VALIDATION_TOKENS = 2**17
"""At most so many are measured on, from the beginning of the validation text: a long one would cost more time than
training does, and tell no more."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that decides a pretraining run."""

    data: str = "shakespeare"
    """A text: shakespeare, arithmetic, a .txt file, .jsonl or .parquet with a text in each row, or a folder of them."""
    tokenizer: Literal["char", "bpe"] = "char"
    """What a token is: a character, or a piece of a word that is frequent in the text (byte-level BPE)."""
    vocab_size: int = 4096
    """Different tokens of bpe at most. With char it is as many as the text has characters."""
    run: Path | None = None
    """Directory for all that the run leaves behind; by default runs/ and the text's name."""
    resume: bool = False
    """Go on with the run in that directory, if there is one."""
    minutes: float = 5.0
    """How long to train, where the number of steps is not given."""
    seed: int = 1
    """Start weights and order of the text follow from it."""
    architecture: Literal["qwen3", "llama", "gpt2"] = "qwen3"
    """Whose parts the model is made of."""
    prompt: str = "\n"
    """What the samples along the way continue."""
    size: SizeConfig = field(default_factory=SizeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise UserError(f"minutes is {self.minutes}: it must be above 0.")
        if self.vocab_size < 1:
            raise UserError(f"vocab_size is {self.vocab_size}: it must be at least 1.")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}: it must be at least 0 and below 2^63.")


def main(arguments: Sequence[str]) -> None:
    """`folio pretrain [RECIPE] [flags]`."""
    recipe, flags = take_recipe("pretrain", arguments)
    if flags and not flags[0].startswith("-"):
        known = known_recipes("pretrain")
        raise UserError(
            f"{flags[0]}: no such recipe. There is {known}; for a text of your own use --data FILE."
        )
    config = read_config(
        PretrainConfig, flags, recipe=recipe, prog="folio pretrain [RECIPE]", description=__doc__
    )
    pretrain(config, recipe, make_console())


def default_run(data: str) -> Path:
    """runs/ and the text's name."""
    return Path("runs") / Path(data).resolve().stem


def pretrain(config: PretrainConfig, recipe: Path | None, console: Console) -> None:
    """Find the text, choose sizes, train, and show what came of it."""
    reference = Reference.beside(recipe) if recipe else None
    run = RunDirectory(config.run or default_run(config.data))
    if run.exists:
        with run.owned():
            config = stored_config(run, config, stage="pretrain", resume=config.resume)
    corpus = load_corpus(config.data)
    if config.run is None and not run.exists:
        run = RunDirectory(Path("runs") / corpus.name)  # a text that stands in for another has its own name
    with run.owned():
        if run.exists and run.read_info()["status"] == "finished":
            console.print(f"{run.path} is finished already. This is what it made:", soft_wrap=True)
        else:
            carry_out(config, corpus, run, reference, console)
        show_result(run, reference, console)


def carry_out(
    config: PretrainConfig, corpus: Corpus, run: RunDirectory, reference: Reference | None, console: Console
) -> None:
    """Train from the beginning, or from the newest checkpoint, to the end."""
    for notice in corpus.notices:
        console.print(notice, soft_wrap=True)
    training = build(config, corpus, run)
    show_choices(corpus, training, n_tokens(training), "" if run.exists else why(config, training), console)
    rehearsal = rehearse(training, config.optimizer, config.schedule, console)
    if not run.exists:
        begin(config, corpus, training, run, rehearsal)
    show_estimate(training, n_tokens(training), rehearsal.seconds(training.plan.steps), console)
    unfinished = resume(training, run, console)
    progress = Progress(console, training.plan.steps)
    watch = Watch(training, run, progress, Continuation(config.prompt))
    train(watch, config.schedule, config.optimizer.max_norm, console, unfinished)
    if reference and reference.mismatch(run.read_info()):
        reference = None
    plot_losses(read_lines(run.metrics_file), training.plan.total_tokens, run.plot, reference)
    run.set_status("finished", peak_memory=peak_memory(training.runtime.device))


def build(config: PretrainConfig, corpus: Corpus, run: RunDirectory) -> Training:
    """All that a run needs, with the choices that run.json holds, or new ones."""
    stored = stored_choices(config, corpus, run) if run.exists else None
    checkpoint, _ = newest_whole(run.checkpoints) if run.exists else (None, [])
    tokenizer = load_tokenizer(checkpoint) if checkpoint else TOKENIZERS[config.tokenizer](config, corpus)
    train_text, val_text = corpus.split()
    train_ids, val_ids = (encoded(text, tokenizer) for text in (train_text, val_text))
    val_ids = val_ids[: VALIDATION_TOKENS + 1]  # the first is no target
    runtime, plan = stored or new_choices(config, tokenizer.vocab_size, len(train_ids), len(val_ids))
    require_length(train_ids, plan.model.block_size + 1, "The training text", tokenizer.unit)
    require_length(val_ids, plan.model.block_size + 1, "The validation text", tokenizer.unit)
    torch.manual_seed(config.seed)
    model = GPT(plan.model).to(runtime.device)
    model.compute_dtype = runtime.compute_dtype
    line_end = tokenizer.encode("\n").tolist() if "\n" in corpus.text else []
    source = RandomWindows(
        train_ids,
        block_size=plan.model.block_size,
        batch_size=plan.micro_batch_size,
        seed=config.seed,
        opening=(line_end[0], tokenizer.special_ids["<|bos|>"]) if line_end else None,
    )
    return Training(
        model=model,
        tokenizer=tokenizer,
        source=source,
        groups=accumulate(source, plan.accumulation),
        loss_function=next_token_loss,
        evaluation=HeldOut(
            list(validation_windows(val_ids, plan.model.block_size, VALIDATION_BATCH_SIZE)),
            n_bytes=len(tokenizer.decode(val_ids[1:].tolist()).encode()),
        ),
        optimizers=build_optimizers(model, config.optimizer, muon_dtype=runtime.compute_dtype),
        runtime=runtime,
        plan=plan,
    )


def char_tokenizer(config: PretrainConfig, corpus: Corpus) -> Tokenizer:
    """Every character of the text, also of the validation part, which may hold none that is unknown."""
    return CharTokenizer.train(corpus.text)


def bpe_tokenizer(config: PretrainConfig, corpus: Corpus) -> Tokenizer:
    """What is frequent in the training part; bytes can spell the rest."""
    return BPETokenizer.train(pieces(corpus.split()[0]), config.vocab_size)


TOKENIZERS: Mapping[str, Callable[[PretrainConfig, Corpus], Tokenizer]] = {
    "char": char_tokenizer,
    "bpe": bpe_tokenizer,
}
"""How each is made of a text; always the same for the same."""


def encoded(text: str, tokenizer: Tokenizer) -> Tensor:
    """The ids of a text of any length: (N) int32."""
    return torch.from_numpy(np.concatenate([tokenizer.encode(piece) for piece in pieces(text)]))


def n_tokens(training: Training) -> int:
    """Tokens of the text that is learned from."""
    assert isinstance(training.source, RandomWindows)
    return len(training.source.ids)


def stored_choices(config: PretrainConfig, corpus: Corpus, run: RunDirectory) -> tuple[Runtime, Plan]:
    """What an earlier process chose. Raises UserError if the text is another one now."""
    info = run.read_info()
    if info["text_sha256"] != corpus.sha256:
        raise UserError(
            f"{config.data} is not the text that {run.path} was started with; choose another --run."
        )
    return restore_runtime(info["runtime"]), from_table(Plan, info["plan"], str(run.info_file))


def new_choices(
    config: PretrainConfig, vocab_size: int, n_train: int, n_validation: int
) -> tuple[Runtime, Plan]:
    """Where to compute, and sizes, for a new run. n_train, n_validation: tokens."""
    runtime = start_runtime(config.runtime)
    architecture = ARCHITECTURES[config.architecture]
    plan = choose_plan(
        config.size,
        dict(architecture.parts),
        vocab_size=vocab_size,
        n_train=n_train,
        n_validation=n_validation,
        flops=runtime.flops_per_second * 60 * config.minutes,
        free_memory=0.8 * available_memory(runtime.device),
        device_type=runtime.device.type,
    )
    architecture.write(plan.model, {})  # says now, not at the first save, if it cannot be saved
    return runtime, plan


def why(config: PretrainConfig, training: Training) -> str:
    """Why the sizes are what they are, as far as they were chosen here."""
    flops = training.runtime.flops_per_second * 60 * config.minutes
    return reasons(config.size, training.plan, n_tokens(training), flops)


def begin(
    config: PretrainConfig, corpus: Corpus, training: Training, run: RunDirectory, rehearsal: Rehearsal
) -> None:
    """Decide how many steps to make, now that it is known how long one takes, and write run.json."""
    if not training.plan.steps:
        # However long the validation text, at least half of the time is for training.
        seconds = 60 * config.minutes - min(rehearsal.seconds(0), 30 * config.minutes)
        steps = choose_steps(training.plan, n_tokens(training), seconds, rehearsal.step_seconds)
        training.plan = replace(training.plan, steps=steps)
    begin_run("pretrain", config, training, run, origin=corpus.origin, digest=corpus.sha256)
