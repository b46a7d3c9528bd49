"""Create preferences: sample two answers of a model to each prompt, and let a judge compare them."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from folio.config import Count, Factor, NonNegative, Positive, Seed, Settings, Source, to_table
from folio.data.characters import require_known
from folio.data.conversations import JUDGED_CONVERSATIONS, Conversation
from folio.data.known import find_conversations
from folio.data.preferences import TRAIN_FILE, VALIDATION_FILE
from folio.data.records import spread
from folio.errors import UserError
from folio.files import read_json, write_file
from folio.log import Progress, format_duration, make_console
from folio.model.directory import weights_digest
from folio.model.gpt import GPT
from folio.report.tables import show_next, show_table
from folio.rl.rewards import RewardSource, Sample
from folio.rl.rollouts import Prompt, sample_completions
from folio.runs.budget import Budget
from folio.runs.default_data import named_or_default
from folio.runs.flags import read_config
from folio.runs.load import load_for_chat, read_model
from folio.runs.recipes import take_recipe
from folio.runs.rewards import load_rewards, models_in
from folio.runtime import RuntimeConfig, for_varying_lengths, start_runtime
from folio.stages.stage import default_run
from folio.tokenizer.chat_template import Message, completion_ids, prompt_ids
from folio.tokenizer.protocol import Tokenizer

ORIGIN = "label.json"
JUDGE_SECONDS = 10.0
"""Time limit of a judge that is a function, for one answer."""
BATCH = 128
"""Maximum prompts per batch of generated answers."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig(Settings):
    """Settings of `folio label`."""

    model: tyro.conf.Positional[Path] = Path("runs/shakespeare-sft")
    """Model that answers: a run, a checkpoint, or any model directory. Or a recipe."""
    judge: tuple[Source, ...] = ()
    """Judge: a function, as file.py:name, the run or directory of a reward model, or likelihood:RUN, which says how likely a
    base model finds an answer, in nats a character; or several, as SOURCE=WEIGHT, which are summed. A function gets prompt
    and completion, and returns a number; further parameters are columns of the data."""
    data: tuple[Source, ...] = ()
    """Conversations as for folio sft, one or several: a file, a folder, OWNER/NAME:SUBSET:SPLIT on the Hugging Face Hub, instructions:TEXT,
    requests:TEXT, shakespeare, arithmetic or gsm8k; by default those that the model was fine-tuned on."""
    validation: Source | None = None
    """Conversations for validation pairs; by default the last tenth of the data."""
    out: Path | None = None
    """Output folder for train.jsonl and validation.jsonl; by default runs/, the model's name and -label."""
    prompts: Count | None = None
    """Number of conversations to use, evenly spaced; by default all."""
    validation_prompts: Count | None = 300
    """Number of validation conversations to use."""
    tie: NonNegative = 0.02
    """Answers whose scores differ by at most this form no pair."""
    max_new_tokens: Count = 120
    """Maximum tokens per answer."""
    temperature: tuple[Factor, Factor] = (0.7, 1.1)
    """Sampling temperatures of the two answers; different ones make the answers differ more."""
    minutes: Positive | None = None
    """Time for all of it: as many prompts are used as fit into it, evenly spaced. By default there is no limit."""
    seed: Seed = 1
    """Random seed."""
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(compile="off"))


def make_preferences(config: LabelConfig, out: Path, console: Console) -> None:
    """Write preferences for training and validation to `out`, unless they exist."""
    if not config.judge:
        raise UserError("--judge is required: name file.py:name or a reward model.")
    made = [out / name for name in (TRAIN_FILE, VALIDATION_FILE)]
    origin = origin_of(config)
    if all(os.path.exists(path) for path in made):
        check_origin(out, origin)
        console.print(f"{out} already has these preferences.", soft_wrap=True)
        return
    budget = Budget.of_minutes(config.minutes, most_steps=1)
    named = named_or_default(config.data, config.validation, config.model)
    conversations = find_conversations(*named, JUDGED_CONVERSATIONS)
    parts = [
        spread(conversations.train, config.prompts),
        spread(conversations.validation, config.validation_prompts),
    ]
    model, tokenizer = load_for_chat(config.model)
    require_known(tokenizer, texts_of(conversation for part in parts for conversation in part))
    judge = load_rewards(config.judge, tokenizer, seconds=JUDGE_SECONDS)
    judge.check_columns([each.columns for part in parts for each in part])
    runtime = start_runtime(for_varying_lengths(config.runtime))
    runtime.place(model, *models_in(judge))
    n_prompts = sum(map(len, parts))
    sampler = AnswerSampler(config, model, tokenizer, Progress(console, n_prompts))
    start = time.perf_counter()
    pairs = judged_parts(parts, sampler, judge, budget.seconds - budget.spent)
    if not sampler.n_prompts:
        raise UserError(
            f"no prompt leaves room for {config.max_new_tokens} tokens in the model's context of "
            f"{model.config.block_size}: lower --max-new-tokens."
        )
    if not all(pairs):
        raise UserError(
            "the judge finds no answer better than another: use more prompts, a lower --tie, or a model that ends its "
            "answers."
        )
    used = {"prompts_used": sampler.n_done, "prompts_there": n_prompts}
    write_preferences(dict(zip(made, pairs, strict=True)), out / ORIGIN, origin | used)
    show_table(
        {
            "preferences": f"{len(pairs[0]):,} in {made[0]}, {len(pairs[1]):,} for validation in {made[1]}",
            "conversations": conversations.origin,
            "prompts": f"{sampler.n_done:,} of {n_prompts:,}"
            + (f", as many as fit into {config.minutes:g} minutes" if sampler.n_done < n_prompts else ""),
            "answers": f"{sampler.n_answers:,} generated and judged in {format_duration(time.perf_counter() - start)}",
        },
        console,
    )
    show_next([f"folio reward {config.model} --data {made[0]} --validation {made[1]}"], console)


def texts_of(conversations: Iterable[Conversation]) -> Iterator[tuple[str, str]]:
    """Yield where a conversation stands and each of its texts up to the last answer: those that are read."""
    for each in conversations:
        yield from ((each.where, message["content"]) for message in each[: last_answer(each) + 1])


def judged_parts(
    parts: Sequence[Sequence[Conversation]], sampler: AnswerSampler, judge: RewardSource, seconds: float
) -> list[list[dict[str, object]]]:
    """Return the preferences from each part, which gets as much of the time as it has of the conversations."""
    deadline, n_prompts = time.monotonic(), sum(map(len, parts))
    pairs = []
    with sampler.progress.shown():
        for part in parts:
            deadline += seconds * len(part) / n_prompts
            pairs.append(list(judged_pairs(sampler.answers(part, deadline), judge, sampler.config.tie)))
    return pairs


def write_preferences(
    files: Mapping[Path, Sequence[dict[str, object]]], origin_file: Path, origin: Mapping[str, object]
) -> None:
    """Write where preferences come from, and then they themselves."""
    origin_file.parent.mkdir(parents=True, exist_ok=True)
    write_file(origin_file, (json.dumps(origin, indent=2) + "\n").encode())
    for path, found in files.items():
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        write_file(path, "".join(lines).encode())


def origin_of(config: LabelConfig) -> dict[str, object]:
    """Return the settings and the digest of the weights on which the preferences depend."""
    irrelevant = ("model", "out", "runtime", "minutes")
    found: dict[str, object] = {
        **{key: value for key, value in to_table(config).items() if key not in irrelevant},
        "data": named_or_default(config.data, config.validation, config.model)[0],
        "weights": read_model(config.model, weights_digest),
    }
    return dict(json.loads(json.dumps(found)))  # as read back from label.json, with lists for tuples


def check_origin(out: Path, origin: dict[str, object]) -> None:
    """Raise UserError if the preferences in `out` were created with other settings.

    Without label.json they are the user's own, and are accepted.
    """
    if not os.path.exists(out / ORIGIN):
        return
    stored = read_json(out / ORIGIN, "Choose another --out.")
    for key, value in origin.items():
        if stored.get(key) != value:
            raise UserError(
                f"{out} was made with {key} {stored.get(key)!r}, not {value!r}: choose another --out."
            )


class AnswerSampler:
    """Sampler of two answers of the model to each prompt of a conversation."""

    def __init__(self, config: LabelConfig, model: GPT, tokenizer: Tokenizer, progress: Progress) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.progress = progress
        self.n_done = 0
        """Prompts that were looked at."""
        self.n_prompts = 0
        """Those that leave room for an answer."""
        self.n_answers = 0

    def answers(
        self, conversations: Sequence[Conversation], deadline: float = math.inf
    ) -> Iterator[tuple[Sequence[Message], list[Sample]]]:
        """Yield each prompt that leaves room for an answer, the model's two answers, and the conversation's own.

        deadline: as `time.monotonic` counts. A batch that is not expected to be done by then is not begun, unless none yet had
        a prompt that leaves room.
        Batches are spread evenly over the conversations, so that any number of them represents all.
        """
        n_batches = math.ceil(len(conversations) / BATCH)
        batch_seconds, n_before = 0.0, self.n_prompts
        for number in range(n_batches):
            start = time.monotonic()
            if start + batch_seconds > deadline and self.n_prompts > n_before:
                break
            batch = conversations[number::n_batches]
            split = [self._split(each) for each in batch]
            part = [each for each in split if self._fits(*each[1:])]
            first_answers, second_answers = (
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
            for (messages, reply, prompt), *own in zip(part, first_answers, second_answers, strict=True):
                given = Sample(
                    prompt.text,
                    reply,
                    prompt.ids,
                    completion_ids(self.tokenizer, reply),
                    (),
                    is_stopped=True,
                    columns=prompt.columns,
                )
                yield messages, [*own, given]
            self.n_done += len(batch)
            batch_seconds = time.monotonic() - start

    def _split(self, conversation: Conversation) -> tuple[Sequence[Message], str, Prompt]:
        """Return the messages before the last answer, the answer, and the messages as a prompt."""
        at = last_answer(conversation)
        messages = conversation[:at]
        prompt = Prompt(messages[-1]["content"], prompt_ids(self.tokenizer, messages), conversation.columns)
        return messages, conversation[at]["content"], prompt

    def _fits(self, reply: str, prompt: Prompt) -> bool:
        longest = max(self.config.max_new_tokens, len(completion_ids(self.tokenizer, reply)))
        return len(prompt.ids) + longest <= self.model.config.block_size


def last_answer(conversation: Conversation) -> int:
    """Return the number of the assistant's last message."""
    return max(n for n, message in enumerate(conversation) if message["role"] == "assistant")


def judged_pairs(
    answers: Iterator[tuple[Sequence[Message], list[Sample]]], judge: RewardSource, tie: float
) -> Iterator[dict[str, object]]:
    """Yield up to two preferences per prompt: between the model's answers, and between its first and the given one.

    The judge decides both. Ties, equal, empty and unfinished answers are left out: an answer that is cut off is worse
    for a reason unrelated to its content, and later stages penalize it anyway.
    """
    for messages, (first, second, given) in answers:
        prompt = messages[0]["content"] if len(messages) == 1 else messages
        for a, b in ((first, second), (given, first)):
            score_a, score_b = judge([a, b])
            are_complete = all(each.completion and each.is_stopped for each in (a, b))
            if are_complete and a.completion != b.completion and abs(score_a - score_b) > tie:
                better, worse = (a, b) if score_a > score_b else (b, a)
                yield {"prompt": prompt, "chosen": better.completion, "rejected": worse.completion}


class Label:
    """`folio label` as a step of `folio run`."""

    name = "label"
    config = LabelConfig
    makes_assistant = False

    def output(self, config: LabelConfig) -> Path:
        """Return the folder for the preferences."""
        return config.out or default_run(config.model, "label")

    def is_made(self, config: LabelConfig) -> bool:
        """Return whether the folder has preferences."""
        return all(os.path.exists(self.output(config) / name) for name in (TRAIN_FILE, VALIDATION_FILE))

    def main(self, arguments: Sequence[str]) -> None:
        """Run `folio label [MODEL | RECIPE] --judge FILE.py:NAME [flags]`."""
        recipe, flags = take_recipe("label", arguments)
        prog = f"folio label {arguments[0] if recipe else ''}".strip()
        config = read_config(LabelConfig, flags, recipe=recipe, prog=prog, description=__doc__)
        make_preferences(config, self.output(config), make_console())


STAGE = Label()
main = STAGE.main
