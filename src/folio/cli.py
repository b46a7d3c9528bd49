"""The command line: verbs, and where each one's code is. Nothing is imported until a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper

from folio import __version__
from folio.errors import UserError

VERBS = {
    "run": ("folio.commands.run", "go the whole way, from a text to an assistant"),
    "pretrain": ("folio.stages.pretrain", "train a GPT on a text"),
    "ladder": ("folio.commands.ladder", "climb from a bigram to a GPT, and see what each part buys"),
    "data": ("folio.commands.data", "see what a model is trained on, and which tokens count"),
    "sft": ("folio.stages.sft", "teach a model to answer, with conversations"),
    "label": ("folio.commands.label", "let a judge compare a model's answers: preferences to learn from"),
    "reward": ("folio.stages.reward", "learn from preferences which of two answers is better"),
    "ppo": ("folio.stages.ppo", "improve a model's answers by what a reward says of them (PPO)"),
    "grpo": ("folio.stages.grpo", "the same, comparing answers to the same prompt (GRPO)"),
    "rl-report": ("folio.commands.rl_report", "tell what is wrong with a run of ppo or grpo"),
    "dpo": ("folio.stages.dpo", "learn from preferences without a reward model (DPO)"),
    "sample": ("folio.commands.sample", "let a trained model write"),
    "chat": ("folio.commands.chat", "talk with a model"),
    "explain": (
        "folio.commands.explain",
        "look inside a trained model: what it reads, expects and attends to",
    ),
    "runs": ("folio.commands.runs", "list runs, their metrics and the next command for each"),
    "doctor": ("folio.commands.doctor", "show what this machine offers, and how fast it is"),
}
INTERRUPTED = 130
"""The exit code of shells for Ctrl-C: 128 + SIGINT."""


def usage() -> str:
    """The text of `folio --help`."""
    verbs = "\n".join(f"  {verb:<10}{purpose}" for verb, (_, purpose) in VERBS.items())
    return f"""folio {__version__}: from a text file to your own ChatGPT

usage: folio VERB ...

{verbs}

folio VERB --help tells more. To begin:

  folio run shakespeare
  folio chat runs/shakespeare-ppo
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character is no reason to stop
    try:
        find_verb(arguments)(arguments[1:])
    except UserError as error:
        print(f"folio: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\nInterrupted. {interrupt}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`folio sample ... | head`), and so nobody is left to tell.
        # Python would try once more when it flushes at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def find_verb(arguments: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """What to call for the first argument. Raises UserError for a verb that does not exist."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return lambda _: print(usage())
    if arguments[0] in ("-V", "--version"):
        return lambda _: print(f"folio {__version__}")
    if arguments[0] not in VERBS:
        close = get_close_matches(arguments[0], VERBS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(VERBS)}."
        raise UserError(f"there is no verb {arguments[0]!r}. {hint}")
    verb: Callable[[Sequence[str]], None] = import_module(VERBS[arguments[0]][0]).main
    return verb
