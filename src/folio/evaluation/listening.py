"""Whether an assistant listens, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from folio.data.characters import require_known
from folio.data.conversations import Conversation, is_trained, parse_conversation, texts_of
from folio.data.prompts import up_to_the_user
from folio.data.records import spread
from folio.data.skills import checker_of, recognized
from folio.evaluation.prompt_pmi import Exchange, PromptPMI
from folio.evaluation.skills import Request, SkillsMet
from folio.inference.chat import check_chat_tokens
from folio.model.gpt import GPT
from folio.tokenizer.chat_template import completion_ids, prompt_ids
from folio.tokenizer.protocol import Tokenizer

EXCHANGES, REQUESTS = 64, 64
"""Held-out answers whose probabilities are compared, and requests that are answered."""
ANSWER_TOKENS = 130
"""Maximum length of an answer to a request."""
TEMPERATURE = 0.8
"""As in a chat."""


def evaluate_assistant(
    model: GPT, tokenizer: Tokenizer, conversations: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Evaluate whether a model listens, and how many requests it meets.

    Args:
        model: a model with the tokens of the chat template.
        tokenizer: its tokenizer.
        conversations: rows such as `{"messages": [...]}` that it has not learned from. Requests are checked that are of a
            kind which `instructions` makes.

    Returns:
        `prompt_pmi`: nats by which its own prompt makes an answer likelier than another one does (Church and Hanks, 1990,
        on pointwise mutual information), its standard error `prompt_pmi_error`, and `prompt_wins`, the share of answers for
        which it is positive; `met`, the share of requests that are met at temperature 0.8; and each by skill, as in
        `met/repeat`. What cannot be measured on these conversations is left out.

    Raises:
        UserError: for a row that is no conversation, or a character that the tokenizer does not know.
    """
    check_chat_tokens(tokenizer)
    parsed = [parse_conversation(row, f"conversation {n}") for n, row in enumerate(conversations, start=1)]
    require_known(tokenizer, texts_of(parsed))
    evaluations = listening([with_skill(each) for each in parsed], tokenizer, model.config.block_size)
    return {
        name.removeprefix("val_"): value
        for evaluation in evaluations
        for name, value in evaluation(model).items()
    }


def with_skill(conversation: Conversation) -> Conversation:
    """Return a conversation with the columns skill and fields, where its last request is of a kind that is known."""
    *_, before, request = ("", *(message["content"] for message in up_to_the_user(conversation)))
    found = recognized(request, before)
    columns = {"skill": found[0].name, "fields": found[1]} if found else {}
    return Conversation(conversation, conversation.where, columns)


def listening(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, block_size: int
) -> list[PromptPMI | SkillsMet]:
    """Return the evaluations for which held-out conversations have data: what a prompt is worth for the answer to it, and
    how many requests with a checker are met."""
    exchanges = [exchange(each, tokenizer) for each in spread(conversations, EXCHANGES)]
    requests = requests_of(conversations, tokenizer, block_size)
    met = SkillsMet(spread(requests, REQUESTS), tokenizer, TEMPERATURE, ANSWER_TOKENS) if requests else None
    return [each for each in (prompt_pmi(exchanges, tokenizer, block_size), met) if each is not None]


def prompt_pmi(exchanges: Sequence[Exchange], tokenizer: Tokenizer, block_size: int) -> PromptPMI | None:
    """Return the evaluation of exchanges that fit into the context; None where there are none to compare."""
    fitting = [each for each in exchanges if len(each.prompt) + len(each.completion) <= block_size]
    return PromptPMI.of(fitting, tokenizer.special_ids["<|pad|>"], block_size)


def exchange(conversation: Conversation, tokenizer: Tokenizer) -> Exchange:
    """Return the last answer to learn from, with what comes before it."""
    at = max(number for number, message in enumerate(conversation) if is_trained(message))
    return Exchange(
        skill=str(conversation.columns.get("skill", "")),
        prompt=prompt_ids(tokenizer, conversation[:at]),
        completion=completion_ids(tokenizer, conversation[at]["content"]),
    )


def requests_of(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, block_size: int
) -> list[Request]:
    """Return the requests that have a checker and leave room for an answer."""
    requests = [
        Request(each.columns["skill"], prompt_ids(tokenizer, up_to_the_user(each)), is_met)
        for each in conversations
        if (is_met := checker_of(each.columns))
    ]
    return [each for each in requests if len(each.prompt) + ANSWER_TOKENS <= block_size]
