"""The command line: find the command, run it, turn its errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any

from folio import __version__
from folio.activity import activity
from folio.commands import COMMANDS, DISTRIBUTED
from folio.errors import FolioWarning, UserError, exhausted
from folio.notices import notify, printable
from folio.runs.budget import clock

INTERRUPTED = 130
"""The exit code of shells for Ctrl-C: 128 + SIGINT."""


def usage() -> str:
    """Return the text of `folio --help`."""
    commands = "\n".join(f"  {name:<10}{purpose}" for name, (_, purpose) in COMMANDS.items())
    return f"""folio {__version__}: from a text file to your own ChatGPT

usage: folio COMMAND ...

{commands}

`folio COMMAND --help` lists the settings of a command. To begin:

  folio run shakespeare
  folio chat runs/shakespeare-grpo
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    try:
        with clock(), warnings.catch_warnings(), shown_logs():
            warnings.simplefilter("default", FolioWarning)  # the same words from one place once
            warnings.showwarning = show_warning  # type: ignore[assignment]  # the rest of its arguments is never used
            find_command(arguments)(arguments[1:])
    except UserError as error:
        notify(str(error))
        return 2
    except KeyboardInterrupt as interrupt:
        print(printable(f"\nInterrupted. {interrupt}".rstrip()), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`folio sample ... | head`), and so nobody is left to tell.
        # Python would try once more when it flushes at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        if (problem := exhausted(error)) is None:
            raise
        notify(problem)
        return 2
    return 0


def find_command(arguments: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """Return what to call for the first argument. Raises UserError for an unknown command."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return lambda _: print(usage())
    if arguments[0] in ("-V", "--version"):
        return lambda _: print(f"folio {__version__}")
    if arguments[0] not in COMMANDS:
        close = get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Commands: {', '.join(COMMANDS)}."
        raise UserError(f"unknown command {arguments[0]!r}. {hint}")
    if os.environ.get("WORLD_SIZE", "1") != "1" and arguments[0] not in DISTRIBUTED:
        raise UserError(
            f"folio {arguments[0]} is for one process: start it without torchrun, which is for {', '.join(DISTRIBUTED)}."
        )
    # PyTorch alone takes seconds to import.
    with activity("Starting") if sys.stderr.isatty() else nullcontext():
        command: Callable[[Sequence[str]], None] = import_module(COMMANDS[arguments[0]][0]).main
    return command


def show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """Print a FolioWarning as a line for the user, and any other with its place in the code."""
    if issubclass(category, FolioWarning):
        notify(str(message))
    else:
        print(printable(warnings.formatwarning(message, category, *place[:2])), end="", file=sys.stderr)


class LogLines(logging.Handler):
    """Handler that prints what folio's modules log, a line for the user each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record."""
        notify(record.getMessage())


@contextmanager
def shown_logs() -> Iterator[None]:
    """Print what folio's modules log at level INFO and above while the block runs."""
    logger, handler = logging.getLogger("folio"), LogLines()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
