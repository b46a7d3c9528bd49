"""Preferences, made: a model answers every prompt twice, and a judge says which answer is better."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from folio.config import read_config, to_table
from folio.data.known import find_conversations
from folio.data.records import spread
from folio.errors import UserError
from folio.files import write_file
from folio.log import Progress, clock, make_console
from folio.model.directory import weights_digest
from folio.model.gpt import GPT
from folio.report.tables import show_next, show_table
from folio.rl.rewards import RewardSource, Sample
from folio.rl.rollouts import Prompt, sample_completions
from folio.runs.load import find_model, load_for_chat
from folio.runs.recipes import take_recipe
from folio.runs.rewards import load_rewards, models_in
from folio.runtime import RuntimeConfig, start_runtime
from folio.stages.stage import default_run
from folio.tokenizer.chat_template import Message, completion_ids, prompt_ids
from folio.tokenizer.protocol import Tokenizer

TRAIN, VALIDATION, ORIGIN = "train.jsonl", "validation.jsonl", "label.json"
Conversation = Sequence[Message]
BATCH = 128
"""Answers that are written together."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Who answers what, and who judges."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Who answers: a run, a checkpoint in it, or any model directory. Or a recipe (.toml), or a folder with one."""
    judge: str = ""
    """Who judges: file.py:name, or the run or directory of a reward model."""
    data: str = "shakespeare"
    """Conversations, as for folio sft: a file, a folder of them, OWNER/NAME:SUBSET:SPLIT of the Hugging Face Hub,
    shakespeare, arithmetic or gsm8k. Their first turns are the prompts, the replies to them are compared with the model's own."""
    validation: str | None = None
    """Conversations for the pairs to measure on, in the same form; by default the last tenth of the data."""
    out: Path | None = None
    """Folder for train.jsonl and validation.jsonl, which folio reward and folio dpo read; by default runs/, the model's
    name and -label."""
    prompts: int | None = None
    """How many conversations of the data to take, evenly spread; all if not given."""
    validation_prompts: int | None = 300
    """The same for the pairs to measure on."""
    tie: float = 0.02
    """Answers whose scores differ by no more are not paired: a judge would toss a coin."""
    max_new_tokens: int = 120
    """Most tokens in an answer."""
    temperature: tuple[float, float] = (0.7, 1.1)
    """Of the first and of the second answer. A careful and a bold one differ by more than two of the same kind."""
    seed: int = 1
    resume: bool = False
    """Taken for the other stages' sake: what is there is never made again."""
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))

    def __post_init__(self) -> None:
        for name in ("prompts", "validation_prompts", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}: it must be at least 1.")
        if not all(0 < temperature < math.inf for temperature in self.temperature):
            raise UserError(f"temperature is {self.temperature}: both must be above 0.")
        if not 0 <= self.tie < math.inf:
            raise UserError(f"tie is {self.tie}: it must be at least 0.")


def label(config: LabelConfig, out: Path, console: Console) -> None:
    """Write both files, unless they are there."""
    if not config.judge:
        raise UserError("--judge is required: name file.py:name or a reward model.")
    made = [out / name for name in (TRAIN, VALIDATION)]
    origin = origin_of(config)
    if all(os.path.exists(path) for path in made):
        refuse_others(out, origin)
        console.print(f"{out} holds these preferences already.", soft_wrap=True)
        return
    known = find_conversations(config.data, config.validation)
    parts = [spread(known.train, config.prompts), spread(known.validation, config.validation_prompts)]
    model, tokenizer = load_for_chat(config.model)
    judge = load_rewards([config.judge], tokenizer, seconds=10.0)
    runtime = start_runtime(config.runtime)
    runtime.place(model, *models_in(judge))
    start = time.perf_counter()
    progress = Progress(console, sum(map(len, parts)))
    answering = Answering(config, model, tokenizer, progress)
    with progress.shown():
        pairs = [list(compared(answering.answers(part), judge, config.tie)) for part in parts]
    if not answering.n_prompts:
        raise UserError(
            f"no prompt leaves room for {config.max_new_tokens} tokens in the model's context of "
            f"{model.config.block_size}: make --max-new-tokens smaller."
        )
    if not all(pairs):
        raise UserError(
            "the judge finds no answer better than another: give more prompts, or a smaller --tie, or let the model "
            "learn to end its answers."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / ORIGIN, (json.dumps(origin, indent=2) + "\n").encode())
    for path, found in zip(made, pairs, strict=True):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        write_file(path, "".join(lines).encode())
    show_table(
        {
            "preferences": f"{len(pairs[0]):,} in {made[0]}, {len(pairs[1]):,} to measure on in {made[1]}",
            "conversations": known.origin,
            "answers": f"{answering.n_answers:,} written and judged in {clock(time.perf_counter() - start)}",
        },
        console,
    )
    show_next([f"folio reward {config.model} --data {made[0]} --validation {made[1]}"], console)


def origin_of(config: LabelConfig) -> dict[str, object]:
    """All that decides which preferences are made."""
    beside = ("model", "out", "resume", "runtime")
    found: dict[str, object] = {
        **{key: value for key, value in to_table(config).items() if key not in beside},
        "weights": weights_digest(find_model(config.model)),
    }
    return dict(json.loads(json.dumps(found)))  # as it will be read back: with lists for tuples


def refuse_others(out: Path, origin: dict[str, object]) -> None:
    """Raise UserError if the preferences that lie there were made otherwise. Without a note they are a person's own."""
    if not os.path.exists(out / ORIGIN):
        return
    there = json.loads((out / ORIGIN).read_text(encoding="utf-8"))
    for key, value in origin.items():
        if there.get(key) != value:
            raise UserError(
                f"{out} was made with {key} {there.get(key)!r}, not {value!r}: choose another --out."
            )


class Answering:
    """Two answers of the model to each prompt, beside the one that the conversation has."""

    def __init__(self, config: LabelConfig, model: GPT, tokenizer: Tokenizer, progress: Progress) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.progress = progress
        self.n_prompts = 0
        self.n_answers = 0

    def answers(self, conversations: Sequence[Conversation]) -> Iterator[tuple[Conversation, list[Sample]]]:
        """For each conversation that leaves room, up to its first answer: the model's two answers, and the given one."""
        for first in range(0, len(conversations), BATCH):
            asked = [up_to_the_answer(each) for each in conversations[first : first + BATCH]]
            part = [(messages, reply, self._prompt(messages)) for messages, reply in asked]
            part = [each for each in part if self._fits(*each[1:])]
            careful, bold = (
                sample_completions(
                    self.model,
                    self.tokenizer,
                    [prompt for _, _, prompt in part],
                    max_new_tokens=self.config.max_new_tokens,
                    temperature=temperature,
                    seed=2 * (self.config.seed + self.n_prompts) + which,
                )
                for which, temperature in enumerate(self.config.temperature)
            )
            self.n_prompts += len(part)
            self.n_answers += 2 * len(part)
            self.progress.update(self.n_prompts, {"answers": f"{self.n_answers:,}"})
            for (messages, reply, prompt), *own in zip(part, careful, bold, strict=True):
                given = Sample(
                    prompt.text, reply, prompt.ids, completion_ids(self.tokenizer, reply), (), True
                )
                yield messages, [*own, given]

    def _prompt(self, messages: Conversation) -> Prompt:
        return Prompt(messages[-1]["content"], prompt_ids(self.tokenizer, messages))

    def _fits(self, reply: str, prompt: Prompt) -> bool:
        longest = max(self.config.max_new_tokens, len(completion_ids(self.tokenizer, reply)))
        return len(prompt.ids) + longest <= self.model.config.block_size


def up_to_the_answer(messages: Conversation) -> tuple[Conversation, str]:
    """A conversation before its first answer, and that."""
    at = next(n for n, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:at], messages[at]["content"]


def compared(
    answers: Iterator[tuple[Conversation, list[Sample]]], judge: RewardSource, tie: float
) -> Iterator[dict[str, object]]:
    """Two preferences from the three answers to a prompt: between the model's own, and of the first of these and the
    given one. The judge decides both. Left out are ties, equal answers, and those without a word or without an end:
    what is cut off is worse for a reason that has nothing to do with what it says, and the stages that follow punish it
    anyway."""
    for messages, (first, second, given) in answers:
        prompt = messages[0]["content"] if len(messages) == 1 else messages
        for a, b in ((first, second), (given, first)):
            one, other = judge([a, b])
            is_whole = all(each.completion and each.is_stopped for each in (a, b))
            if is_whole and a.completion != b.completion and abs(one - other) > tie:
                better, worse = (a, b) if one > other else (b, a)
                yield {"prompt": prompt, "chosen": better.completion, "rejected": worse.completion}


class Label:
    """`folio label` as a step of a chain of recipes."""

    name = "label"
    config = LabelConfig
    metrics: Mapping[str, str] = {}  # it trains nothing
    makes_assistant = False

    def output(self, config: LabelConfig) -> Path:
        """Return the folder for the preferences."""
        return config.out or default_run(config.model, "label")

    def main(self, arguments: Sequence[str]) -> None:
        """Run `folio label [MODEL | RECIPE] --judge FILE.py:NAME [flags]`."""
        recipe, flags = take_recipe("label", arguments)
        prog = f"folio label {arguments[0] if recipe else ''}".strip()
        config = read_config(LabelConfig, flags, recipe=recipe, prog=prog, description=__doc__)
        label(config, self.output(config), make_console())


STAGE = Label()
main = STAGE.main
