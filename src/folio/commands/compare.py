"""Two answers to each question in a chat, and a person who says which is better."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from folio.errors import UserError
from folio.files import append_line
from folio.log import make_console, notify
from folio.tokenizer.chat_template import Message

if TYPE_CHECKING:
    from folio.commands.chat import Chat

SIDE_BY_SIDE = 80
"""Columns of a terminal from which on two answers stand beside each other."""
GAP = 4
CHOICES = {"1": 0, "2": 1, "0": None, "": None}


def compare(chat: Chat, other: Chat) -> None:
    """Let a person choose between two answers to the last turn. The choice is kept, and the chat goes on with it.

    Broken off with Ctrl-C, or where the other model cannot answer, it goes on with what its own model wrote.
    """
    n_turns = len(chat.messages)
    try:
        with make_console().status("writing two answers"):
            answers = write_two(chat, other)
    except (KeyboardInterrupt, UserError):
        if len(chat.messages) > n_turns:  # else there is no answer, and the question was taken back
            print(chat.messages[-1]["content"])
        raise
    if not answers:
        return
    Random(chat.seed).shuffle(answers)  # from here on not even folio knows who wrote which
    choice = choose(answers)
    better, worse = answers[::-1] if choice == 1 else answers
    chat.messages[-1] = {"role": "assistant", "content": better}
    if choice is not None:
        append_line(chat.config.save, preference(chat.said[:-1], better, worse))


def preference(prompt: Sequence[Message], chosen: str, rejected: str) -> dict[str, object]:
    """A pair in the form that others read too: strings where the prompt is one question, else lists of messages."""
    if len(prompt) == 1:
        return {"prompt": prompt[0]["content"], "chosen": chosen, "rejected": rejected}
    better, worse = ([{"role": "assistant", "content": answer}] for answer in (chosen, rejected))
    return {"prompt": prompt, "chosen": better, "rejected": worse}


def write_two(chat: Chat, other: Chat) -> list[str]:
    """An answer of each to the last turn; `chat` remembers its own. None, and no turn, if one of them has none."""
    first = "".join(chat.answer())
    if not first:
        return []
    other.follow(chat)  # with a seed that has moved on, so that a model compared with itself has two answers
    second = "".join(other.answer())
    chat.seed = other.seed
    if not second:
        del chat.messages[-2:]
        return []
    return [first, second]


def choose(answers: Sequence[str]) -> int | None:
    """Show two answers as 1 and 2, and ask which is better: 0 for the first, 1 for the second, None for neither.

    Equal answers are shown once, and nobody is asked.
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
    """Side by side in a wide terminal, else one under the other."""
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
    """The person's choice, from a terminal or a pipe. Ctrl-C and the end of input are for neither."""
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
