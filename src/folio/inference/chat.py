"""A conversation with a model, in the terminal or from Python."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from folio.errors import UserError
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.sampling import SamplingConfig
from folio.inference.text import stream_text
from folio.inference.window import visible_window
from folio.model.gpt import GPT
from folio.tokenizer.chat_template import Message, check_messages
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import has_chat_tokens


def check_chat_tokens(tokenizer: Tokenizer) -> None:
    """Raise UserError where the tokenizer lacks the tokens of conversations."""
    if not has_chat_tokens(tokenizer.special_ids):
        raise UserError(
            "the model has no chat tokens: folio.add_chat_tokens adds them, folio.sft teaches it to use them."
        )


class ChatSession:
    """A conversation: its history, and the model that answers.

    `messages` holds user and assistant turns in alternation, without the system message. The same seed and the same turns
    give the same answers; each answer moves `seed` on by one. `sampling` and `seed` may be set between answers.

    Args:
        model: a model with the tokens of the chat template.
        tokenizer: its tokenizer.
        notify: is called with each notice for the user: what was left out of a message, which turns no longer fit.
        system: the system message, "" for none.
        max_new_tokens: the longest answer.
        sampling: how to draw tokens.
        seed: 0 or more.

    Raises:
        UserError: where the tokenizer lacks those tokens.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        notify: Callable[[str], None],
        system: str = "",
        max_new_tokens: int = 200,
        sampling: SamplingConfig | None = None,
        seed: int = 1,
    ) -> None:
        check_chat_tokens(tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.notify = notify
        self.max_new_tokens = max_new_tokens
        self.sampling = sampling or SamplingConfig(temperature=0.8)
        self.seed = seed
        self.messages: list[Message] = []
        self.n_dropped = 0
        """The oldest messages that the last prompt had no room for."""
        self.system = ""
        self.set_system(system)

    def set_system(self, text: str) -> None:
        """Set the system message, "" for none, from the next answer on."""
        self.system = self.filter_unknown(text)

    def filter_unknown(self, text: str) -> str:
        """Return the text without characters that the tokenizer does not know, of which it notifies."""
        text, unknown = self.tokenizer.drop_unknown(text)
        if unknown:
            self.notify(f"the model has never seen {', '.join(map(repr, unknown))}; left out.")
        return text

    def add_user_message(self, text: str) -> None:
        """Add a user turn. Raises UserError where no character of it is known."""
        text = self.filter_unknown(text)
        if not text:
            raise UserError("nothing is left of that message: write another.")
        self.messages.append({"role": "user", "content": text})

    def answer(self) -> Generator[str]:
        """Yield the answer to the last user turn in pieces, as they are written.

        What was written becomes the assistant's turn, also where the caller stops early. A user turn that gets no answer
        is removed. Raises UserError where there is nothing to answer, or the user turn is too long; that removes it.
        """
        prompt = self._prompt()
        config = GenerationConfig(
            max_new_tokens=min(self.max_new_tokens, self.model.config.block_size - len(prompt)),
            sampling=self.sampling,
            seed=self.seed,
            stop_ids=(self.tokenizer.special_ids["<|end|>"],),
        )
        pieces = stream_text(Engine(self.model), self.tokenizer, [prompt], config)
        self.seed += 1
        written = ""
        try:
            for (piece,) in pieces:
                written += piece
                yield piece
        finally:
            if written:
                self.messages.append({"role": "assistant", "content": written})
            else:
                self.messages.pop()
                self.notify("no answer; the question is taken back.")

    def undo(self) -> None:
        """Remove the last answer, so that `answer` gives another one. Raises UserError where there is none."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise UserError("there is no answer yet.")
        self.messages.pop()

    def retry(self) -> Iterator[str]:
        """Yield another answer to the last user turn, as `answer` does."""
        self.undo()
        yield from self.answer()

    def reset(self) -> None:
        """Remove all turns; the system message stays."""
        self.messages.clear()

    def transcript(self) -> list[Message]:
        """Return the whole conversation, the system message first."""
        return [*self._system_messages(), *self.messages]

    def restore(self, messages: Sequence[Message]) -> None:
        """Continue another conversation, as `transcript` returns it, in the characters that are known here.

        A last question without an answer is left out. Raises UserError where messages are out of order.
        """
        check_messages(messages)
        turns = [{**message, "content": self.filter_unknown(message["content"])} for message in messages]
        system = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
        if turns and turns[-1]["role"] == "user":
            turns.pop()
        self.system, self.messages, self.n_dropped = system, list(turns), 0

    def sync_with(self, session: ChatSession) -> None:
        """Take over another session's conversation up to its last user turn, in the characters that are known here."""
        self.system, _ = self.tokenizer.drop_unknown(session.system)
        self.sampling, self.seed, self.n_dropped = session.sampling, session.seed, session.n_dropped
        self.messages = [
            {"role": each["role"], "content": self.tokenizer.drop_unknown(each["content"])[0]}
            for each in session.messages
        ]
        if self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()

    def _system_messages(self) -> list[Message]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def _prompt(self) -> list[int]:
        """Return the ids of the conversation, without its oldest turns if the context has no room for them and an answer."""
        if not self.messages or self.messages[-1]["role"] != "user":
            raise UserError("there is no question to answer.")
        try:
            window = visible_window(
                self.tokenizer,
                self._system_messages(),
                self.messages,
                block_size=self.model.config.block_size,
                answer=self.max_new_tokens,
            )
        except UserError:
            self.messages.pop()
            raise
        if window.n_dropped > self.n_dropped:
            self.notify(f"the context is full: the oldest {window.n_dropped} messages are no longer seen.")
        self.n_dropped = window.n_dropped
        return window.ids
