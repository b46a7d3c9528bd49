"""The conversations of `folio chat`, kept as they go: whatever ends a chat, they can be opened again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pooch

from folio.files import write_file
from folio.tokenizer.chat_template import Message

KEPT = 100
"""The newest conversations that stay."""


def chats_folder() -> Path:
    """Return the folder of the user's conversations, beside the data that folio downloads."""
    return Path(pooch.os_cache("folio")) / "chats"


class Transcript:
    """The file of the conversation that goes on.

    file: an earlier one that is continued; by default a new one, made when there is something to keep.
    """

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        self.folder = folder
        self.file = file

    def write(self, messages: Sequence[Message]) -> None:
        """Replace what the file holds, and remove the oldest files. Raises WriteError where it cannot be written."""
        if self.file is None:
            self.file = self.folder / f"{datetime.now():%Y-%m-%d-%H%M%S-%f}-{os.getpid()}.jsonl"
        with suppress(OSError):  # write_file says what is wrong
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # for the user alone
        write_file(self.file, (json.dumps({"messages": messages}) + "\n").encode())
        for old in saved_transcripts(self.folder)[KEPT:]:
            with suppress(OSError):  # another chat was faster
                old.unlink()


def saved_transcripts(folder: Path) -> list[Path]:
    """Return the files of earlier conversations, the newest first."""
    return sorted(folder.glob("*.jsonl"), reverse=True)
