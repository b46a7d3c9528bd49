"""Answer the questions on a page of the lecture; those that you miss come first the next time."""

from __future__ import annotations

import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from folio.config import Settings
from folio.errors import UserError
from folio.files import WriteError
from folio.lecture.progress import Progress, Tries, in_order, progress_file, seed_of
from folio.lecture.quiz import (
    Asked,
    Question,
    Quiz,
    Verdict,
    find_page,
    load_quiz,
    page_names,
)
from folio.log import format_count, make_console
from folio.notices import notify
from folio.report.quiz_answers import answer_from
from folio.report.quiz_run import read_finished_run
from folio.report.tables import show_next
from folio.runs.flags import read_config

DEFAULT_RUN = Path("runs/shakespeare")
PROMPT = "> "


@dataclass(frozen=True, kw_only=True)
class QuizConfig(Settings):
    """Which page to be asked about, and about which run."""

    page: tyro.conf.Positional[str] = ""
    """A page of the lecture, by its number or name, as in 1 or bigram; without it, all pages are listed."""
    run: Path | None = None
    """A finished run of folio pretrain, for the questions about your own; by default runs/shakespeare, if there is one.
    Those about an assistant use what `folio run` makes beside it, as runs/shakespeare-sft."""


def main(arguments: Sequence[str]) -> None:
    """Run `folio quiz [PAGE] [--run RUN]`."""
    config = read_config(QuizConfig, arguments, recipe=None, prog="folio quiz", description=__doc__)
    progress = Progress(progress_file())
    if config.page:
        hold_quiz(config, load_quiz(find_page(config.page)), progress, make_console())
    else:
        show_pages([load_quiz(page) for page in page_names()], progress, make_console())


def show_pages(quizzes: Sequence[Quiz], progress: Progress, console: Console) -> None:
    """Print a line for each page, with what was answered, and the first page where something is left to do."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    unfinished = []
    for quiz in quizzes:
        tries = progress.of(quiz.page)
        known = [tries[question.id] for question in quiz.questions if question.id in tries]
        n_right = sum(not each.is_missed for each in known)
        n_missed = len(known) - n_right
        words = f"{n_right} of {len(quiz.questions)} right" + (f", {n_missed} missed" if n_missed else "")
        table.add_row(str(int(quiz.page.partition("-")[0])), quiz.name, words if known else "not begun")
        if n_right < len(quiz.questions):
            unfinished.append(quiz.name)
    console.print(table)
    show_next([f"folio quiz {unfinished[0] if unfinished else quizzes[0].name}"], console)


def hold_quiz(config: QuizConfig, quiz: Quiz, progress: Progress, console: Console) -> None:
    """Ask the questions of a page, each once, and print the score; Ctrl-D ends it early.

    Raises KeyboardInterrupt, which says how to go on, for Ctrl-C.
    """
    if isinstance(sys.stdin, TextIOWrapper):
        # Bytes that are not text are no answer, like anything else that is not understood.
        sys.stdin.reconfigure(errors="surrogateescape")
    tries = progress.of(quiz.page)
    if config.run is not None:
        read_finished_run(config.run)  # a mistake in it is told before the first question
    ready = get_ready(in_order(quiz.questions, tries), tries, config.run or DEFAULT_RUN)
    n_right, n_answered = 0, 0
    try:
        for question, asked in ready:
            console.print(Text(f"\n{n_answered + 1} of {len(ready)}", style="bold"))
            verdict = ask(question, asked, console)
            keep(progress, quiz.page, question.id, verdict)
            n_answered += 1
            n_right += verdict.is_right
            console.print(Text(verdict.words, style="green" if verdict.is_right else "yellow"))
    except EOFError:
        console.print()
    except KeyboardInterrupt:
        kept = f"{format_count(n_answered, 'answer')} of this quiz {'is' if n_answered == 1 else 'are'} kept."
        raise KeyboardInterrupt(f"{kept} Go on with: folio quiz {quiz.name}") from None
    show_score(n_right, n_answered, console)
    if n_right < n_answered:
        console.print(f"What you missed comes first the next time: folio quiz {quiz.name}")
    if left := len(ready) - n_answered:
        console.print(f"{format_count(left, 'question')} left: folio quiz {quiz.name}")


def get_ready(
    questions: Sequence[Question], tries: Mapping[str, Tries], run: Path
) -> list[tuple[Question, Asked]]:
    """Return the questions that can be asked, and report why others cannot, those about runs that are not there."""
    ready: list[tuple[Question, Asked]] = []
    left_out: dict[str, int] = {}
    for question in questions:
        try:
            ready.append(
                (question, question.ask(partial(answer_from, run, question), seed_of(question, tries)))
            )
        except UserError as error:
            left_out[str(error)] = left_out.get(str(error), 0) + 1
    for why, count in left_out.items():
        about = "1 question is" if count == 1 else f"{count} questions are"
        notify(f"{about} left out, about a run of your own. {why} --run names another.")
    return ready


def ask(question: Question, asked: Asked, console: Console) -> Verdict:
    """Ask a question until there is an answer, and return the verdict on it. Raises EOFError for Ctrl-D."""
    console.print(Text(question.question))
    if asked.given:
        console.print(Text(asked.given, style="italic"))
    if asked.options:
        table = Table.grid(padding=(0, 1))
        for letter, option in zip(string.ascii_lowercase, asked.options, strict=False):
            table.add_row(Text(f" {letter}", style="bold"), Text(option))
        console.print(table)
    while True:
        typed = input(PROMPT if sys.stdin.isatty() else "")
        try:
            return asked.judge(typed)
        except ValueError as error:
            notify(f"{error}; Ctrl-D ends the quiz.")


def keep(progress: Progress, page: str, question: str, verdict: Verdict) -> None:
    """Write down an answer, or say once why it cannot be."""
    try:
        progress.add(page, question, verdict.is_right)
    except WriteError as error:
        notify(f"{error} This answer is not kept.")


def show_score(n_right: int, n_answered: int, console: Console) -> None:
    """Print how many answers were right."""
    if n_answered:
        console.print(Text(f"\n{n_right} of {n_answered} right.", style="bold"))
