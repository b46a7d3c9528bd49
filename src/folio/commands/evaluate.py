"""Evaluate a model: bits per byte on texts, and how many questions it answers rightly.

    folio evaluate RUN my.txt eval/blimp eval/hellaswag_val.jsonl
    folio evaluate REWARD_MODEL preferences.jsonl

What is in a file says how it is evaluated. Texts (.txt, .md, or rows with `text`) give bits per byte, beside what two
compressors need. Rows with `query`, `choices` and `gold`, with `sentence_good` and `sentence_bad`, with `context_options`,
`continuation` and `gold`, or with `context` and `continuation` give the share of right answers. Rows with `prompt`, `chosen` and
`rejected` say how often a reward model prefers the chosen answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import tyro

from folio.config import Count, Settings, Source
from folio.data.columns import Record
from folio.data.corpora import BETWEEN_DOCUMENTS, TEXT_READERS, find_data
from folio.data.fields import Fields
from folio.data.preferences import Preference, preference_of
from folio.data.questions import FORMS, Question, in_form, text_in
from folio.data.records import Kind, read_records, spread
from folio.data.rows import READERS, read_text
from folio.errors import UserError
from folio.evaluation.bits_per_byte import bits_per_byte, compressed
from folio.evaluation.preferences import evaluate_preferences
from folio.evaluation.questions import answer, interval, question_metrics
from folio.files import write_file
from folio.log import Progress, make_console
from folio.model.gpt import GPT
from folio.report.tables import show_table
from folio.runs.flags import read_config
from folio.runs.load import load
from folio.runs.rewards import load_reward_model
from folio.runs.sources import files_below
from folio.runtime import choose_device
from folio.tokenizer.protocol import Tokenizer

Result = Mapping[str, float]
Item = Question | Preference | str
Items = Sequence[Item]
"""Of a file: questions, preferences, or a whole text."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Settings):
    """Settings of `folio evaluate`."""

    model: tyro.conf.Positional[Path]
    """A run (its best model is used), a checkpoint, or any model directory; for preferences a reward model."""
    data: tyro.conf.Positional[tuple[Source, ...]]
    """Texts, questions, or preferences: files, folders of them, also those that are for testing by their names, or datasets of the
    Hugging Face Hub as OWNER/NAME:SUBSET:SPLIT."""
    limit: Count | None = None
    """Most rows of a file, evenly spaced; by default all."""
    json: Path | None = None
    """File for the results, as JSON."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio evaluate MODEL DATA... [flags]`."""
    config = read_config(EvaluateConfig, arguments, recipe=None, prog="folio evaluate", description=__doc__)
    console = make_console()
    if not config.data:
        raise UserError(
            "name texts or questions to evaluate on, as in folio evaluate RUN my.txt questions.jsonl."
        )
    groups = {data: files_of(data) for data in config.data}
    # All is read before anything is evaluated, which takes longer: a mistake in the last file should show at once.
    tasks = {name: read_items(name, config.limit) for files in groups.values() for name in files}
    evaluate = evaluation_of(config, tasks)
    results: dict[str, Result] = {}
    unreadable: list[str] = []
    with Progress(console, len(tasks)).shown() as progress:
        for number, (name, items) in enumerate(tasks.items(), start=1):
            with progress.activity(name):
                try:
                    results[name] = evaluate(items)
                except UserError as error:  # the others can be evaluated all the same
                    unreadable.append(f"{name}: {error}")
            progress.update(number, {})
    lines = {name: told(result) for name, result in results.items()}
    for data, files in groups.items():
        answered = [results[name] for name in files if "accuracy" in results.get(name, {})]
        if len(answered) > 1:
            lines[f"{data}, mean"] = told(averaged(answered))
    show_table(lines, console)
    if config.json is not None:
        content = {"model": str(config.model), "limit": config.limit, "results": results}
        write_file(config.json, (json.dumps(content, indent=1) + "\n").encode())
    if unreadable:
        raise UserError(" ".join(unreadable))


def files_of(data: str) -> list[str]:
    """Return the files of data that can be evaluated on, or a name that is none. Raises UserError for a folder without."""
    path = find_data(data)
    if not os.path.isdir(path):
        return [data]
    if files := [str(file) for file in files_below(path) if file.suffix.lower() in TEXT_READERS]:
        return files
    raise UserError(f"{path} has no {', '.join(TEXT_READERS)} file in it: name another folder.")


def read_items(name: str, limit: int | None) -> Items:
    """Return the text, the questions or the preferences of a file. limit: most rows.

    Raises UserError where it cannot be read, and where it has more than one kind of them.
    """
    path = find_data(name)
    if os.path.isfile(path) and path.suffix.lower() not in READERS:
        return read_text(path)
    items = spread(read_records(name, ITEMS), limit)
    if len(kinds := {NAMES[type(each)] for each in items}) > 1:
        raise UserError(
            f"{name} has both {' and '.join(sorted(kinds, reverse=True))}: put them into two files."
        )
    return BETWEEN_DOCUMENTS.join(items) if kinds == {"texts"} else items  # type: ignore[arg-type]


def evaluation_of(config: EvaluateConfig, tasks: Mapping[str, Items]) -> Callable[[Any], Result]:
    """Load the model, and return what evaluates it on the items of a file.

    Raises UserError where some of the files are for a reward model and others for a language model.
    """
    device = choose_device(config.device)
    preferences = [
        name for name, items in tasks.items() if any(isinstance(each, Preference) for each in items[:1])
    ]
    if not preferences:
        model, tokenizer = load(config.model, device=device)
        return lambda items: evaluate(model, tokenizer, items)
    if len(preferences) < len(tasks):
        raise UserError(
            f"{preferences[0]} has preferences, which a reward model judges: evaluate on them alone."
        )
    scorer, tokenizer = load_reward_model(config.model)
    return lambda items: evaluate_preferences(scorer.to(device), tokenizer, items)


def evaluate(model: GPT, tokenizer: Tokenizer, items: Sequence[Question] | str) -> Result:
    """Evaluate a model on questions or on a text. Raises UserError where it can read none of it."""
    if isinstance(items, str):
        return {**bits_per_byte(model, tokenizer, items), **compressed(items)}
    return question_metrics(*answer(model, tokenizer, items))


def item_of(row: Fields, where: str) -> Item:
    """Return what a row holds. Raises UserError for what can be evaluated in no way."""
    return in_form(row, ITEM_FORMS)


def text_of(row: Record) -> str:
    """Return the text of a row. Raises UserError where it is none."""
    return text_in(row, "text")


ITEM_FORMS: Mapping[frozenset[str], Callable[[Record], Item]] = {
    frozenset({"text"}): text_of,
    **FORMS,
    frozenset({"chosen", "rejected"}): lambda row: preference_of(row, ""),
}
NAMES: Mapping[type, str] = {str: "texts", Question: "questions", Preference: "preferences"}


ITEMS = Kind[Item](
    name="texts, questions or preferences",
    example='{"query": "The cat sat on the", "choices": ["mat", "moon"], "gold": 0}',
    parse=item_of,
)


def averaged(results: Sequence[Result]) -> Result:
    """Return the mean of shares of right answers, each as a file of its own, and how many questions there are in all."""
    names = [name for name in results[0] if name != "n"]
    means = {name: mean(result[name] for result in results) for name in names}
    return {**means, "n": sum(result["n"] for result in results)}


def told(result: Result) -> str:
    """Return a result in words."""
    if "bits_per_byte" in result:
        compressors = ", ".join(f"{name} {result[name]:.3f}" for name in ("bz2", "xz"))
        return (
            f"{result['bits_per_byte']:.3f} bits per byte ({compressors}); {result['loss']:.3f} nats a token, "
            f"{result['n_tokens']:,.0f} tokens"
        )
    n = round(result["n"])
    low, high = interval(result["accuracy"], n)
    if "longer_accuracy" in result:
        return (
            f"{result['accuracy']:.1%} right ({low:.1%} to {high:.1%}); the longer answer is in "
            f"{result['longer_accuracy']:.1%}; margin {result['margin']:.2f}, calibration error "
            f"{result['calibration_error']:.1%}; {n:,} pairs"
        )
    is_choice = result["chance"] > 0
    compared = (
        f", {result['accuracy_norm']:.1%} by character; guessing {result['chance']:.1%}" if is_choice else ""
    )
    return f"{result['accuracy']:.1%} right ({low:.1%} to {high:.1%}){compared}; {n:,} questions"
