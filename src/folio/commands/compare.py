"""Let the user of `folio chat` choose the better of two answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table
from rich.text import Text

from folio.errors import UserError
from folio.files import append_line
from folio.inference.chat import ChatSession
from folio.log import make_console, notify
from folio.tokenizer.chat_template import Message

SIDE_BY_SIDE = 80
"""Columns that a terminal needs for two answers side by side."""
GAP = 4
CHOICES = {"1": 0, "2": 1, "0": None, "": None}


def compare(session: ChatSession, other: ChatSession, save: Path) -> None:
    """Let the user choose between two answers to the last question; keep the choice in `save` and continue with it.

    Interrupted with Ctrl-C, or where the other model cannot answer, the conversation continues with the first answer.
    """
    n_messages = len(session.messages)
    try:
        with make_console().status("writing two answers"):
            answers = write_two(session, other)
    except (KeyboardInterrupt, UserError):
        if len(session.messages) > n_messages:  # otherwise there is no answer, and the question was removed
            print(session.messages[-1]["content"])
        raise
    if not answers:
        return
    Random(session.seed).shuffle(answers)  # from here on not even folio knows which model wrote which
    choice = choose(answers)
    better, worse = answers[::-1] if choice == 1 else answers
    session.messages[-1] = {"role": "assistant", "content": better}
    if choice is not None:
        append_line(save, preference(session.transcript()[:-1], better, worse))


def preference(prompt: Sequence[Message], chosen: str, rejected: str) -> dict[str, object]:
    """Return a record of the usual form: strings where the prompt is one question, else lists of messages."""
    if len(prompt) == 1:
        return {"prompt": prompt[0]["content"], "chosen": chosen, "rejected": rejected}
    better, worse = ([{"role": "assistant", "content": answer}] for answer in (chosen, rejected))
    return {"prompt": prompt, "chosen": better, "rejected": worse}


def write_two(session: ChatSession, other: ChatSession) -> list[str]:
    """Return each model's answer to the last question; `session` keeps its own.

    Where one has no answer, return none and remove the question.
    """
    first = "".join(session.answer())
    if not first:
        return []
    other.sync_with(
        session
    )  # with a seed that has moved on, so that a model compared with itself has two answers
    second = "".join(other.answer())
    session.seed = other.seed
    if not second:
        del session.messages[-2:]
        return []
    return [first, second]


def choose(answers: Sequence[str]) -> int | None:
    """Show two answers and return the index of the better one, None for neither.

    Equal answers are shown once, without a question.
    """
    if answers[0] == answers[1]:
        print(answers[0])
        notify("both answers are the same: there is nothing to choose.")
        return None
    show_two(answers, make_console())
    choice = ask()
    if choice is None:
        notify("neither is kept; the conversation goes on with answer 1.")
    return choice


def show_two(answers: Sequence[str], console: Console) -> None:
    """Print answers side by side in a wide terminal, else one below the other."""
    headings = [f"--- {number} ---" for number in range(1, len(answers) + 1)]
    if not console.is_terminal or console.width < SIDE_BY_SIDE:
        for heading, answer in zip(headings, answers, strict=True):
            print(f"{heading}\n{answer}")
        return
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False, expand=True)
    for _ in answers:
        table.add_column(ratio=1, overflow="fold")
    table.add_row(*headings)
    table.add_row(*map(Text, answers))
    console.print(table)


def ask() -> int | None:
    """Return the user's choice, from a terminal or a pipe. Ctrl-C and the end of input mean neither."""
    question = "1 or 2? " if sys.stdin.isatty() else ""
    while True:
        try:
            said = input(question).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return None
        if said in CHOICES:
            return CHOICES[said]
        notify("say 1 or 2 for the better answer, 0 for neither.")
