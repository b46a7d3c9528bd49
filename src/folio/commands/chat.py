"""Talk with a model. What you type is your turn; a line that begins with / is for folio (/help tells which)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

import tyro

from folio.commands.compare import compare
from folio.config import read_config
from folio.errors import UserError
from folio.files import append_line
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.log import notify
from folio.model.gpt import GPT
from folio.runs.load import load_for_chat, stage_of
from folio.runtime import choose_device
from folio.tokenizer.chat_template import Message, prompt_ids
from folio.tokenizer.protocol import Tokenizer

HELP = """\
/system TEXT       tell the model who it is; without a text, no longer
/retry             another answer to the same question
/compare RUN       two answers to each question, one by that model; which is better?
                   without a run, no longer
/reset             begin anew
/temperature T     0 always the likeliest, 1 as the model has learned
/save FILE.jsonl   keep the conversation
/quit              leave, as Ctrl-D does"""


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """With whom to talk, and how it answers."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    system: str = ""
    """What the model is told about itself before the conversation."""
    tokens: int = 200
    """Most tokens in an answer."""
    seed: int = 1
    """The same seed and questions give the same answers."""
    compare: Path | None = None
    """Another model, or the same once more: each question gets two answers, in random order, and you choose."""
    save: Path = Path("preferences.jsonl")
    """Where your choices between two answers are kept."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8))

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise UserError(f"tokens is {self.tokens}: it must be at least 1.")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: it must be at least 0.")
        if self.save.suffix != ".jsonl" or not os.path.isdir(self.save.parent):
            raise UserError(
                f"--save {self.save}: name a file that ends in .jsonl, in a folder that there is."
            )


class Chat:
    """A conversation with one model, and with another where answers are compared."""

    def __init__(self, model: GPT, tokenizer: Tokenizer, config: ChatConfig) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.config = config
        self.sampling = config.sampling
        self.seed = config.seed
        self.system = self.known(config.system)
        self.messages: list[Message] = []
        self.n_forgotten = 0
        """Turns that the context has no room for; the person knows."""
        self.other: Chat | None = None
        """Who answers as well, to be compared."""

    def known(self, text: str) -> str:
        """The text without what the model has never seen, which is told."""
        text, dropped = self.tokenizer.drop_unknown(text)
        if dropped:
            notify(f"the model has never seen {', '.join(map(repr, dropped))}; left out.")
        return text

    def hear(self, question: str) -> bool:
        """Take a turn, in what all who are to answer know of it. False if that is nothing."""
        question = self.known(question)
        if self.other is not None:
            question = self.other.known(question)
        if not question:
            notify("nothing is left of that; say something else.")
            return False
        self.messages.append({"role": "user", "content": question})
        return True

    def answer(self) -> Iterator[str]:
        """Answer the last turn in pieces, as it is written, and remember it, even where writing was broken off. A
        question that gets no answer, or is too long for one, is taken back."""
        pieces: list[str] = []
        prompt = self.prompt()
        steps = stream_text(
            Engine(self.model),
            self.tokenizer,
            [prompt],
            max_new_tokens=min(self.config.tokens, self.model.config.block_size - len(prompt)),
            sampling=self.sampling,
            seed=self.seed,
            stop_ids=[self.tokenizer.special_ids["<|end|>"]],
        )
        self.seed += 1
        try:
            for (piece,) in steps:
                pieces.append(piece)
                yield piece
        finally:
            if "".join(pieces):
                self.messages.append({"role": "assistant", "content": "".join(pieces)})
            else:
                self.messages.pop()
                notify("no answer; the question is taken back.")

    @property
    def said(self) -> list[Message]:
        """The whole conversation, with the system turn."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.messages]

    def prompt(self) -> list[int]:
        """The conversation as ids, without its oldest turns if the context has no room for them and an answer."""
        room = self.model.config.block_size - min(self.config.tokens, self.model.config.block_size // 2)
        system = [{"role": "system", "content": self.system}] if self.system else []
        for first in range(0, len(self.messages), 2):
            ids = prompt_ids(self.tokenizer, [*system, *self.messages[first:]])
            if len(ids) <= room:
                break
        if len(ids) >= self.model.config.block_size:
            self.messages.pop()
            raise UserError(
                f"that is too long: the model reads {self.model.config.block_size} tokens, the system turn and all."
            )
        if first > self.n_forgotten:
            notify(f"the context is full: the oldest {first} turns are no longer seen.")
        self.n_forgotten = first
        return ids

    def follow(self, chat: Chat) -> None:
        """Come to the question that another model has just answered, in what this one knows of the conversation."""
        self.system, _ = self.tokenizer.drop_unknown(chat.system)
        self.sampling, self.seed, self.n_forgotten = chat.sampling, chat.seed, chat.n_forgotten
        self.messages = [
            {"role": each["role"], "content": self.tokenizer.drop_unknown(each["content"])[0]}
            for each in chat.messages[:-1]
        ]

    def take_back(self) -> bool:
        """Forget the last answer. False where there is none."""
        if not self.messages:
            return False
        self.messages.pop()
        return True


def main(arguments: Sequence[str]) -> None:
    """`folio chat RUN [flags]`."""
    config = read_config(ChatConfig, arguments, recipe=None, prog="folio chat", description=__doc__)
    chat = meet(config)
    if config.compare is not None:
        begin_comparing(chat, config.compare)
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(
            errors="surrogateescape"
        )  # what is no text is left out like any unknown character
    if sys.stdin.isatty():
        with suppress(ImportError):  # Windows has none, and edits lines in the console itself
            import readline  # noqa: F401  # gives input() a history and keys to edit with

        print("Say something. /help tells what else there is; Ctrl-D ends.")
    for line in lines():
        take(chat, line)


def meet(config: ChatConfig) -> Chat:
    """A chat with the model of `config.run`."""
    model, tokenizer = load_for_chat(config.run)
    if stage_of(config.run) == "pretrain":
        notify(
            f"{config.run} has learned to continue texts, not to answer; folio sft {config.run} teaches it."
        )
    return Chat(model.to(choose_device(config.device)), tokenizer, config)


def begin_comparing(chat: Chat, run: Path) -> None:
    """From now on, let the model of a run answer as well. It may be the same: then it answers twice."""
    config = replace(chat.config, run=run, system="")  # it follows what is said to the first
    is_same = run.resolve() == chat.config.run.resolve()
    chat.other = Chat(chat.model, chat.tokenizer, config) if is_same else meet(config)
    notify(
        f"each question gets two answers, in random order. Say 1 or 2 for the better one, 0 for neither; "
        f"the pairs are added to {config.save}."
    )


def lines() -> Iterator[str]:
    """What the person says, a line at a time; from a pipe as well."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line == "/quit":
            return
        if line:
            yield line


def take(chat: Chat, line: str) -> None:
    """Do what a line says: a command, or a turn of the conversation. Ctrl-C breaks an answer off."""
    try:
        if line.startswith("/"):
            command, _, rest = line.partition(" ")
            COMMANDS.get(command, unknown)(chat, rest.strip())
        elif chat.hear(line):
            reply(chat)
    except KeyboardInterrupt:
        print()
    except UserError as error:
        notify(str(error))


def reply(chat: Chat) -> None:
    """Answer the last turn, alone or in comparison."""
    if chat.other is None:
        show(chat.answer())
    else:
        compare(chat, chat.other)


def show(pieces: Iterator[str]) -> None:
    """Write an answer as it comes."""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()


def unknown(chat: Chat, rest: str) -> None:
    """For a command that does not exist."""
    notify(f"there is no such command. There is {', '.join(COMMANDS)} and /quit.")


def show_help(chat: Chat, rest: str) -> None:
    """What there is to type."""
    print(HELP)


def set_system(chat: Chat, rest: str) -> None:
    """Tell the model who it is, from the next answer on."""
    chat.system = chat.known(rest)


def reset(chat: Chat, rest: str) -> None:
    """Forget the conversation; the system turn stays."""
    chat.messages.clear()


def retry(chat: Chat, rest: str) -> None:
    """Answer once more: the seed has moved on, and so the answer differs."""
    if not chat.take_back():
        raise UserError("there is no answer yet.")
    reply(chat)


def set_other(chat: Chat, rest: str) -> None:
    """Compare with another model from the next answer on, or no longer."""
    if rest:
        begin_comparing(chat, Path(rest).expanduser())
    elif chat.other is None:
        raise UserError("with which model? Name a run, as in /compare runs/shakespeare-sft.")
    else:
        chat.other = None
        notify("one answer to each question again.")


def set_temperature(chat: Chat, rest: str) -> None:
    """From the next answer on."""
    try:
        chat.sampling = replace(chat.sampling, temperature=float(rest))
    except ValueError:
        raise UserError(f"{rest!r} is no temperature: give a number, as in /temperature 0.7.") from None


def save(chat: Chat, rest: str) -> None:
    """Add the conversation to a file that `folio sft` reads."""
    if not rest.endswith(".jsonl"):
        raise UserError("name a file that ends in .jsonl, as in /save talk.jsonl.")
    if not chat.messages:
        raise UserError("there is nothing to save yet.")
    append_line(Path(rest), {"messages": chat.said})
    notify(f"saved in {rest}.")


COMMANDS: dict[str, Callable[[Chat, str], None]] = {
    "/help": show_help,
    "/system": set_system,
    "/retry": retry,
    "/compare": set_other,
    "/reset": reset,
    "/temperature": set_temperature,
    "/save": save,
}
