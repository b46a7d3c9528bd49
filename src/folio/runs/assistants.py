"""Which models answer, and which continue texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from folio.errors import FolioWarning, UserError
from folio.runs.directory import RunDirectory, run_around
from folio.runs.load import stage_of
from folio.runs.stages import STAGES
from folio.tokenizer.protocol import Tokenizer
from folio.tokenizer.special_tokens import has_chat_tokens

Chat = Literal["auto", "on", "off"]
"""Whether a text is a question, which the chat template goes around: auto where the model is known to answer."""


def is_assistant(model: Path) -> bool:
    """Return whether a model is of a run that taught it to answer.

    Nothing else tells: the tokens of the chat template are there before anything is learned. Warns with FolioWarning where a
    run's run.json is damaged or gone.
    """
    place = run_around(model) or model
    stage = stage_of(place)
    if not stage and lies_in_a_run(model):
        warnings.warn(
            f"{model}: the run.json of its run is damaged or gone, and so it is not known whether this model answers or "
            "continues texts: --chat on or off says it.",
            FolioWarning,
            stacklevel=1,
        )
    summary = STAGES.get(stage)
    return summary is not None and summary.makes_assistant


def lies_in_a_run(model: Path) -> bool:
    """Return whether a directory is a run, or a model in one, by the metrics that it kept."""
    place = model.resolve()
    return any(
        RunDirectory(each).metrics_file.exists() for each in (place, place.parent, place.parent.parent)
    )


def takes_question(model: Path, tokenizer: Tokenizer, chat: Chat) -> bool:
    """Return whether a text for the model is put into the chat template.

    Raises UserError where it is to be, and the tokenizer lacks its tokens.
    """
    if chat == "on" and not has_chat_tokens(tokenizer.special_ids):
        raise UserError(f"{model} has no chat tokens; fine-tune it with `folio sft {model}` first.")
    return chat == "on" or (chat == "auto" and is_assistant(model))
