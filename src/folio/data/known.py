"""Conversations and prompts that folio knows by name, and how either are found."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from folio.data import arithmetic
from folio.data.conversations import Conversation, read_conversations
from folio.data.corpora import find_data, load_corpus
from folio.data.plays import dialogues
from folio.data.prompts import read_prompts, up_to_the_user
from folio.data.records import Parts, find_parts
from folio.errors import UserError
from folio.tokenizer.chat_template import Message

LONGEST_SPEECH = 120
"""Characters. Longer speeches of a play are monologues, not answers, and two would not fit into a context."""


def find_conversations(data: str, validation: str | None = None) -> Parts[Conversation]:
    """Conversations to learn from and to measure on (see `find_parts`). Raises UserError where there are none."""
    return find_parts(read_conversations, KNOWN_CONVERSATIONS, data, validation)


def find_prompts(data: str, validation: str | None = None) -> Parts[list[Message]]:
    """Prompts to learn from and to measure on (see `find_parts`). Raises UserError where there are none."""
    return find_parts(read_prompts, KNOWN_PROMPTS, data, validation)


def speeches_and_replies() -> Parts[Conversation]:
    """Those of the plays. Raises UserError where the plays cannot be had."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":  # what stands in for a text is no play
        raise UserError(f"{corpus.notices[0]} There are no speeches in that; give conversations with --data.")
    learned, measured = (dialogues(text, LONGEST_SPEECH) for text in corpus.split())
    return Parts(learned, measured, f"speeches and replies of {corpus.origin}")


def worked_sums() -> Parts[Conversation]:
    """Sums, answered with their working."""
    learned, measured = (
        [
            Conversation(
                [{"role": "user", "content": each.problem}, {"role": "assistant", "content": each.working}],
                f"sum {number}",
            )
            for number, each in enumerate(part, start=1)
        ]
        for part in arithmetic.examples()
    )
    return Parts(learned, measured, "worked sums, made by folio")


def word_problems() -> Parts[Conversation]:
    """GSM8K (Cobbe et al., 2021): word problems with their solutions, of which the last line is #### and a number. From
    a data folder, or else from the Hub, where its test part is measured on as well."""
    files = ("math/gsm8k_train.jsonl", "math/gsm8k_test.jsonl")
    try:
        learned, measured = (
            read_conversations(file if os.path.exists(find_data(file)) else f"openai/gsm8k:main:{part}")
            for part, file in zip(("train", "test"), files, strict=True)
        )
    except UserError as error:
        raise UserError(f"{error} gsm8k is also read from {' and '.join(files)} in a data folder.") from None
    return Parts(learned, measured, f"{learned.origin}, and {measured.origin}")


KNOWN_CONVERSATIONS: dict[str, Callable[[], Parts[Conversation]]] = {
    "shakespeare": speeches_and_replies,
    "arithmetic": worked_sums,
    "gsm8k": word_problems,
}
"""What a name stands for."""


def questions(make: Callable[[], Parts[Conversation]]) -> Parts[list[Message]]:
    """What is asked in conversations."""
    parts = make()
    learned, measured = ([up_to_the_user(each) for each in part] for part in (parts.train, parts.validation))
    return Parts(learned, measured, parts.origin)


def sums() -> Parts[list[Message]]:
    """Sums, to be worked out."""
    learned, measured = ([asked(each) for each in part] for part in arithmetic.problems())
    return Parts(learned, measured, "sums, made by folio")


def asked(each: arithmetic.Sum) -> list[Message]:
    """A sum as a prompt."""
    return [{"role": "user", "content": each.problem}]


KNOWN_PROMPTS: dict[str, Callable[[], Parts[list[Message]]]] = {
    "shakespeare": partial(questions, speeches_and_replies),
    "arithmetic": sums,
    "gsm8k": partial(questions, word_problems),
}
"""What a name stands for."""
