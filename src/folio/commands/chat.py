"""Talk with a model. What you type is your turn; a line that begins with / is a command (/help lists them)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from random import Random
from typing import Literal

import tyro
from rich.text import Text

from folio.config import Count, Seed, Settings
from folio.data.conversations import read_conversations
from folio.data.transcripts import Transcript, chats_folder, saved_transcripts
from folio.errors import UserError
from folio.files import append_line
from folio.inference.chat import ChatSession
from folio.inference.comparison import preference, write_two
from folio.inference.sampling import SamplingConfig
from folio.log import format_count, make_console
from folio.notices import notify
from folio.report.side_by_side import show_side_by_side
from folio.report.tables import show_table
from folio.report.writing import print_pieces
from folio.runs.directory import run_around
from folio.runs.flags import read_config
from folio.runs.load import load_for_chat, stage_of
from folio.runs.taught import follows_instructions, invitation, remark
from folio.runtime import choose_device
from folio.terminal import typed_turns

HELP = {
    "/system TEXT": "set the system message; without TEXT, remove it",
    "/retry": "another answer to the same question",
    "/undo": "take back the last question and its answer",
    "/compare RUN": "two answers to each question, one from that model: you say which is better; without RUN, back to one",
    "/reset": "start a new conversation",
    "/temperature T": "0 always takes the likeliest token, 1 samples as the model has learned",
    "/save FILE.jsonl": "add the conversation to a file that folio sft reads",
    "/load FILE.jsonl": "continue the last conversation in a file; without FILE, that of the last chat",
    "/quit": "leave, as does Ctrl-D; Ctrl-C stops an answer",
}
CHOICES = {"1": 0, "2": 1, "0": None, "": None}


@dataclass(frozen=True, kw_only=True)
class ChatConfig(Settings):
    """Which model to talk with, and how it answers."""

    run: tyro.conf.Positional[Path]
    """A run directory (its best model is used), a checkpoint in it, or any model directory."""
    system: str = ""
    """The system message."""
    tokens: Count = 200
    """Maximum tokens in an answer."""
    seed: Seed = 1
    """The same seed and questions give the same answers."""
    compare: Path | None = None
    """Another model, or the same again: each question gets two answers, in random order, and you choose."""
    save: Path = Path("preferences.jsonl")
    """File for your choices between two answers."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.save.suffix != ".jsonl" or not os.path.isdir(self.save.parent):
            raise UserError(f"--save {self.save}: name a file that ends in .jsonl, in an existing folder.")


class Chat:
    """A chat: its session, a second one where answers are compared, and the file of the conversation.

    transcript: None where conversations are not kept: those from a pipe, or where the folder cannot be written.
    knows_skills: whether its model was taught the skills of instructions.
    """

    def __init__(self, config: ChatConfig, session: ChatSession) -> None:
        self.config = config
        self.session = session
        self.other: ChatSession | None = None
        self.transcript: Transcript | None = None
        self.knows_skills = follows_instructions(config.run)

    def keep(self) -> None:
        """Write the conversation to its file."""
        if self.transcript is not None and self.session.messages:
            try:
                self.transcript.write(self.session.transcript())
            except UserError as error:
                notify(f"{error} This conversation is not kept: /save FILE.jsonl saves it.")
                self.transcript = None


def main(arguments: Sequence[str]) -> None:
    """Run `folio chat RUN [flags]`."""
    config = read_config(ChatConfig, arguments, recipe=None, prog="folio chat", description=__doc__)
    chat = open_chat(config)
    if isinstance(sys.stdin, TextIOWrapper):
        # Bytes that are not text are left out like any other unknown character.
        sys.stdin.reconfigure(errors="surrogateescape")
    if sys.stdin.isatty():
        console = make_console()
        console.print("Type a message. /help lists the commands; Ctrl-D ends.")
        if chat.knows_skills:
            console.print(invitation(config.run), soft_wrap=False)
        chat.transcript = Transcript(chats_folder())
        hold_conversation(chat, typed_turns("> ", chats_folder() / "lines"))
        if chat.transcript is not None and chat.transcript.file is not None:
            notify(
                f"the conversation is kept in {chat.transcript.file}; /load in the next chat continues it."
            )
    else:
        hold_conversation(chat, sys.stdin)


def open_chat(config: ChatConfig) -> Chat:
    """Return a chat with the model of `config.run`, and with that of `config.compare` if there is one."""
    chat = Chat(config, open_session(config))
    if config.compare is not None:
        start_comparing(chat, config.compare)
    return chat


def open_session(config: ChatConfig) -> ChatSession:
    """Return a session with the model of `config.run`."""
    model, tokenizer = load_for_chat(config.run)
    if stage_of(run_around(config.run) or config.run) == "pretrain":
        notify(
            f"{config.run} has learned to continue texts, not to answer; folio sft {config.run} teaches it."
        )
    return ChatSession(
        model.to(choose_device(config.device)),
        tokenizer,
        notify=notify,
        system=config.system,
        max_new_tokens=config.tokens,
        sampling=config.sampling,
        seed=config.seed,
    )


def start_comparing(chat: Chat, run: Path) -> None:
    """Let the model of a run answer each question as well. It may be the same model: then it answers twice."""
    if run.resolve() == chat.config.run.resolve():
        own = chat.session
        chat.other = ChatSession(own.model, own.tokenizer, notify=notify, max_new_tokens=own.max_new_tokens)
    else:
        # The system message and the conversation come from the first session.
        chat.other = open_session(replace(chat.config, run=run, system=""))
    notify(
        f"each question gets two answers, in random order. Enter 1 or 2 for the better one, 0 for neither; "
        f"the pairs are added to {chat.config.save}."
    )


def hold_conversation(chat: Chat, turns: Iterable[str]) -> None:
    """Answer each turn, until there are no more or one is /quit."""
    for turn in map(str.strip, turns):
        if turn == "/quit":
            return
        if turn:
            handle_turn(chat, turn)
            chat.keep()


def handle_turn(chat: Chat, turn: str) -> None:
    """Run a turn's command, or answer it. Ctrl-C interrupts an answer."""
    try:
        if turn.startswith("/"):
            command, _, rest = turn.partition(" ")
            SLASH_COMMANDS.get(command, show_unknown)(chat, rest.strip())
        else:
            earlier = [message["content"] for message in chat.session.messages]
            # A question is put to both models in the same words.
            chat.session.add_user_message(chat.other.filter_unknown(turn) if chat.other else turn)
            reply(chat)
            new = [message["content"] for message in chat.session.messages[len(earlier) :]]
            if chat.knows_skills and len(new) == 2:  # a question without an answer is taken back
                request, answer = new
                notify(remark(request, answer, before=earlier[-1] if earlier else ""))
    except KeyboardInterrupt:
        pass  # what was written stays, and the next turn can be typed
    except UserError as error:
        notify(str(error))


def reply(chat: Chat) -> None:
    """Answer the last question, once or in comparison."""
    if chat.other is None:
        # Closed, it keeps what was written until Ctrl-C.
        with closing(chat.session.answer()) as pieces:
            print_pieces(pieces)
    else:
        answer_twice(chat.session, chat.other, chat.config.save)


def answer_twice(session: ChatSession, other: ChatSession, save: Path) -> None:
    """Let the user choose between two answers to the last question; keep the choice in `save` and continue with it.

    Interrupted with Ctrl-C, or where the other model cannot answer, the conversation continues with the first answer.
    """
    n_messages = len(session.messages)
    try:
        with make_console().status("writing two answers"):
            answers = write_two(session, other)
    except (KeyboardInterrupt, UserError):
        if len(session.messages) > n_messages:  # otherwise there is no answer, and the question was removed
            print_pieces([session.messages[-1]["content"]])
        raise
    if not answers:
        return
    Random(session.seed).shuffle(answers)  # from here on not even folio knows which model wrote which
    choice = choose(answers)
    better, worse = answers[::-1] if choice == 1 else answers
    session.messages[-1] = {"role": "assistant", "content": better}
    if choice is not None:
        append_line(save, preference(session.transcript()[:-1], better, worse))


def choose(answers: Sequence[str]) -> int | None:
    """Show two answers and return the index of the better one, None for neither.

    Equal answers are shown once, without a question.
    """
    if answers[0] == answers[1]:
        print_pieces([answers[0]])
        notify("both answers are the same: there is nothing to choose.")
        return None
    show_answers(answers)
    choice = ask()
    if choice is None:
        notify("neither is kept; the conversation continues with answer 1.")
    return choice


def show_answers(answers: Sequence[str]) -> None:
    """Print numbered answers, unchanged where there is no terminal."""
    console = make_console()
    texts = [f"--- {number} ---\n{answer}" for number, answer in enumerate(answers, start=1)]
    if console.is_terminal:
        show_side_by_side([Text(text) for text in texts], console)
    else:
        print("\n".join(texts))


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
        notify("enter 1 or 2 for the better answer, 0 for neither.")


def show_unknown(chat: Chat, rest: str) -> None:
    """Say that a command does not exist, and list those that do."""
    notify(f"there is no such command. Commands: {', '.join([*SLASH_COMMANDS, '/quit'])}.")


def show_help(chat: Chat, rest: str) -> None:
    """List the commands."""
    show_table(HELP, make_console())


def set_system(chat: Chat, rest: str) -> None:
    """Set the system message."""
    chat.session.set_system(rest)
    notify("the system message is set." if chat.session.system else "there is no system message.")


def reset(chat: Chat, rest: str) -> None:
    """Start a new conversation; the system message stays."""
    chat.session.reset()
    if chat.transcript is not None:
        chat.transcript = Transcript(chats_folder())
    notify("a new conversation begins.")


def retry(chat: Chat, rest: str) -> None:
    """Answer once more, with another seed."""
    chat.session.undo()
    reply(chat)


def undo(chat: Chat, rest: str) -> None:
    """Take back the last question and its answer."""
    chat.session.undo()
    question = chat.session.messages.pop()["content"]
    notify(f"taken back, with its answer: {question}")


def set_other(chat: Chat, rest: str) -> None:
    """Compare with another model from the next answer on, or stop comparing."""
    if rest:
        start_comparing(chat, Path(rest).expanduser())
    elif chat.other is None:
        raise UserError("name a run to compare with, as in /compare runs/shakespeare-sft.")
    else:
        chat.other = None
        notify("back to one answer to each question.")


def set_temperature(chat: Chat, rest: str) -> None:
    """Set the temperature of the next answers."""
    try:
        chat.session.sampling = replace(chat.session.sampling, temperature=float(rest))
    except ValueError:
        raise UserError(f"{rest!r} is not a temperature: enter a number, as in /temperature 0.7.") from None
    notify(f"the temperature is {chat.session.sampling.temperature:g}.")


def save(chat: Chat, rest: str) -> None:
    """Append the conversation to a file that `folio sft` reads."""
    if not rest.endswith(".jsonl"):
        raise UserError("name a file that ends in .jsonl, as in /save talk.jsonl.")
    if not chat.session.messages:
        raise UserError("there is nothing to save yet.")
    append_line(Path(rest).expanduser(), {"messages": chat.session.transcript()})
    notify(f"saved in {rest}.")


def load(chat: Chat, rest: str) -> None:
    """Continue the last conversation of a file, or that of the last chat."""
    own = chat.transcript.file if chat.transcript is not None else None
    kept = [file for file in saved_transcripts(chats_folder()) if file != own]
    if not rest and not kept:
        raise UserError("no earlier conversation is kept: name a file, as in /load talk.jsonl.")
    file = Path(rest).expanduser() if rest else kept[0]
    chat.session.restore(read_conversations(file)[-1])
    if chat.transcript is not None:
        chat.transcript = Transcript(chats_folder(), None if rest else file)
    notify(f"continues {file}, {format_count(len(chat.session.messages), 'message')}.")


SLASH_COMMANDS: dict[str, Callable[[Chat, str], None]] = {
    "/help": show_help,
    "/system": set_system,
    "/retry": retry,
    "/undo": undo,
    "/compare": set_other,
    "/reset": reset,
    "/temperature": set_temperature,
    "/save": save,
    "/load": load,
}
