"""Find conversations and prompts, by name or in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from folio.data import arithmetic
from folio.data.conversations import CONVERSATIONS, Conversation, read_conversations
from folio.data.corpora import find_data, load_corpus
from folio.data.instructions import make_instructions
from folio.data.material import Material
from folio.data.plays import dialogues
from folio.data.prompts import PROMPTS, PromptMessages, read_prompts, up_to_the_user
from folio.data.records import Kind, Parts, Record, Records, find_parts
from folio.data.skills import SKILLS, Skill, drawn
from folio.errors import UserError

INSTRUCTIONS, REQUESTS = "instructions", "requests"
"""What can be made of a text: requests of all skills, or of those only whose answers may be better or worse."""
N_INSTRUCTIONS, N_HELD_OUT_INSTRUCTIONS = 16_000, 600
"""Instructions made of a text."""
LONGEST_SPEECH = 120
"""Characters. Longer speeches are monologues, not answers, and two would not fit into a context."""


def find_conversations(
    data: Sequence[str], validation: str | None = None, kind: Kind[Conversation] = CONVERSATIONS
) -> Parts[Conversation]:
    """Return training and validation conversations of all data (see `find_parts`), among them those that
    `instructions:TEXT` or `requests:TEXT` makes of a text.

    Raises UserError where there are none.
    """
    return _find(kind, KNOWN_CONVERSATIONS, taught_by, data, validation)


def find_prompts(data: Sequence[str], validation: str | None = None) -> Parts[PromptMessages]:
    """Return training and validation prompts of all data (see `find_parts`), among them those that `instructions:TEXT` or
    `requests:TEXT` makes of a text.

    Raises UserError where there are none.
    """
    return _find(PROMPTS, KNOWN_PROMPTS, asked_about, data, validation)


def _find(
    kind: Kind[Record],
    known: Mapping[str, Callable[[], Parts[Record]]],
    made: Callable[[str, str | None], Parts[Record]],
    data: Sequence[str],
    validation: str | None,
) -> Parts[Record]:
    """Return records of data, of which `made` makes those of a text."""
    texts = [each for each in data if text_of_instructions(each)]
    # What a single text is validated on is a text as well, of which instructions are made.
    of_text = validation if len(data) == 1 else None
    known = {**known, **{each: partial(made, each, of_text) for each in texts}}
    return find_parts(kind, known, data, None if of_text and texts else validation)


def text_of_instructions(data: str) -> str | None:
    """Return the text of which `instructions:TEXT` or `requests:TEXT` is made, or None for other data."""
    name, colon, text = data.partition(":")
    return text if name in (INSTRUCTIONS, REQUESTS) and colon and text else None


def taught_by(data: str, validation: str | None) -> Parts[Conversation]:
    """Return instructions made of a text, the held-out ones of its validation part or of a validation text (see
    `load_corpus`)."""
    name, _, place = data.partition(":")
    corpus = load_corpus(place, validation)
    text, held_out = corpus.split()
    train = Material(text)
    skills = SKILLS if name == INSTRUCTIONS else free_skills(train) or SKILLS
    return Parts(
        make_instructions(train, N_INSTRUCTIONS, seed=1, skills=skills),
        make_instructions(
            Material(held_out, is_held_out=True, seen=train.lines),
            N_HELD_OUT_INSTRUCTIONS,
            seed=2,
            skills=skills,
        ),
        f"{name} made of {corpus.origin}",
    )


def free_skills(material: Material) -> dict[str, Skill]:
    """Return the skills whose answers may be better or worse, and for which a text has something."""
    return {
        name: skill for name, skill in SKILLS.items() if skill.is_free and drawn(skill, material, Random(1))
    }


def asked_about(data: str, validation: str | None) -> Parts[PromptMessages]:
    """Return the requests of instructions made of a text as prompts, with columns for their checkers."""
    parts = taught_by(data, validation)
    train, held_out = (
        [PromptMessages(up_to_the_user(each), each.columns) for each in part]
        for part in (parts.train, parts.validation)
    )
    return Parts(train, held_out, parts.origin)


def speeches_and_replies() -> Parts[Conversation]:
    """Return the dialogues of Tiny Shakespeare. Raises UserError where it cannot be read or downloaded."""
    corpus = load_corpus("shakespeare")
    if corpus.name != "shakespeare":  # the text that takes its place is no play
        raise UserError(f"{corpus.notices[0]} It has no speeches: name other conversations.")
    train, held_out = (dialogues(text, LONGEST_SPEECH) for text in corpus.split())
    return Parts(train, held_out, f"speeches and replies of {corpus.origin}")


def worked_sums() -> Parts[Conversation]:
    """Return sums, each answered with its working."""
    train, held_out = (
        [
            Conversation(
                [{"role": "user", "content": each.problem}, {"role": "assistant", "content": each.working}],
                f"sum {number}",
            )
            for number, each in enumerate(part, start=1)
        ]
        for part in arithmetic.examples()
    )
    return Parts(train, held_out, "worked sums, generated by folio")


def word_problems(read: Callable[[str], Records[Record]]) -> Parts[Record]:
    """Return GSM8K (Cobbe et al., 2021): word problems with solutions whose last line is #### and a number.

    It is read from a data folder, or else from the Hub. Its test part is for validation. read: takes a file or the name
    of a dataset.
    """
    files = ("math/gsm8k_train.jsonl", "math/gsm8k_test.jsonl")
    try:
        train, held_out = (
            read(file if os.path.exists(find_data(file)) else f"openai/gsm8k:main:{part}")
            for part, file in zip(("train", "test"), files, strict=True)
        )
    except UserError as error:
        raise UserError(f"{error} gsm8k is also read from {' and '.join(files)} in a data folder.") from None
    return Parts(train, held_out, f"{train.origin}, and {held_out.origin}")


KNOWN_CONVERSATIONS: dict[str, Callable[[], Parts[Conversation]]] = {
    "shakespeare": speeches_and_replies,
    "arithmetic": worked_sums,
    "gsm8k": partial(word_problems, read_conversations),
}
"""Conversations by name."""


def speeches() -> Parts[PromptMessages]:
    """Return the speeches of Tiny Shakespeare as prompts."""
    parts = speeches_and_replies()
    train, held_out = (
        [PromptMessages(up_to_the_user(each), {}) for each in part]
        for part in (parts.train, parts.validation)
    )
    return Parts(train, held_out, parts.origin)


def sums() -> Parts[PromptMessages]:
    """Return sums as prompts."""
    train, held_out = (
        [PromptMessages([{"role": "user", "content": each.problem}], {}) for each in part]
        for part in arithmetic.problems()
    )
    return Parts(train, held_out, "sums, generated by folio")


KNOWN_PROMPTS: dict[str, Callable[[], Parts[PromptMessages]]] = {
    "shakespeare": speeches,
    "arithmetic": sums,
    "gsm8k": partial(word_problems, read_prompts),
}
"""Prompts by name."""
