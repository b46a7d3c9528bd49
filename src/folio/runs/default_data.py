"""The conversations that go with a model, where none are named."""

from __future__ import annotations

from pathlib import Path

from folio.config import flatten
from folio.data.known import INSTRUCTIONS, KNOWN_CONVERSATIONS
from folio.errors import UserError
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import find_model


def data_for(model: Path) -> tuple[tuple[str, ...], str | None]:
    """Return all that a model was fine-tuned on, or instructions made from the text that it was pretrained on, and the
    validation data that were named with it: what a model has learned from is not held out.

    A stage that begins with another model goes with what that one does. Raises UserError where there is no model, or its
    run does not say.
    """
    find_model(model)  # a name that was mistyped is told as such
    run = RunDirectory(run_around(model) or model)
    if not run.exists:
        raise UserError(
            f"{model} is no run of folio, which would know a text: name --data, as conversations or {INSTRUCTIONS}:TEXT."
        )
    info = run.read_info()
    settings = flatten(info["config"])
    data, validation = settings.get("data"), settings.get("validation")
    if info["stage"] == "pretrain":
        # Where a text's name is that of conversations, these were made for it, as sums are for arithmetic.
        if data in KNOWN_CONVERSATIONS.keys() - {"shakespeare"}:
            return (str(data),), None
        return (f"{INSTRUCTIONS}:{data}",), validation
    if info["stage"] == "sft" and data:
        return (data,) if isinstance(data, str) else tuple(data), validation  # of 0.1 it is one
    return data_for(Path(str(settings["model"])))


def named_or_default(
    data: tuple[str, ...], validation: str | None, model: Path
) -> tuple[tuple[str, ...], str | None]:
    """Return the data and validation data that settings name, or those that go with a model."""
    if data:
        return data, validation
    found, held_out = data_for(model)
    return found, validation or held_out
