"""Find and read plain text to train on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Protocol

from folio.data import arithmetic
from folio.data.fields import Fields, parse_rows, report
from folio.data.rows import READERS, Reader, decode, parquet_rows, read_text, text_rows, unix_lines
from folio.data.shards import is_shards
from folio.data.split import files_of, share
from folio.errors import UserError

BETWEEN_DOCUMENTS = "\n\n"
TEXT_READERS: Mapping[str, Reader] = {
    ".txt": text_rows,
    ".md": text_rows,
    **READERS,
    ".parquet": partial(parquet_rows, columns=["text"]),
}
"""Readers of texts, by suffix; a single file with any other is plain text."""
DOWNLOAD_TIMEOUTS = (2, 10)
"""Seconds to connect to one address, and to wait for the next bytes. A host may have several addresses; the first is
short so that a network that drops all packets is noticed within seconds."""


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from.

    text:          all of it, the training text first.
    origin:        a description for the user: which file, or "downloaded from ...".
    notices:       what the user should know about how it was found.
    train_length:  characters of the training text; None for that of `split`.
    """

    name: str
    text: str
    origin: str
    notices: tuple[str, ...] = ()
    train_length: int | None = None

    def split(self) -> tuple[str, str]:
        """Return the training and the validation text."""
        if self.train_length is None:
            return split(self.text)
        return self.text[: self.train_length], self.text[self.train_length :]

    @property
    def description(self) -> str:
        """The text in words."""
        return f"{self.name}, {len(self.text):,} characters, {len(set(self.text))} distinct: {self.origin}"

    @property
    def train_bytes(self) -> int:
        """UTF-8 bytes of the training text."""
        return len(self.split()[0].encode())

    @property
    def sha256(self) -> str:
        """Digest of the text, and of where it is split if that is not where `split` does."""
        digest = hashlib.sha256(self.text.encode())
        if self.train_length is not None:
            digest.update(f"\0{self.train_length}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Documents:
    """Texts of files. validation: those that names of files keep apart."""

    train: Sequence[str]
    validation: Sequence[str]
    origin: str


def load_corpus(data: str, validation: str | None = None) -> Corpus:
    """Find and read a text to train on, and one to validate on.

    data: the name of a known corpus (`KNOWN_CORPORA`), or a path: a file with a `text` in every row (`READERS`), a folder
    with such files and texts (see `split.files_of`), or anything else that is UTF-8 text. `find_data` says where a path is
    looked for. A known name comes before a file of the same name; write ./name for the file.
    validation: a path likewise. Without it, validation is what names of files say; or else, where there are many
    documents, which are rows or files, a share of them (see `split.share`); or else the last tenth of the text.

    Documents are joined by a blank line. A byte order mark at the start is dropped and "\\r\\n" becomes "\\n", so that a
    text is the same whichever system it was saved on; all else stays as it is. A known corpus is looked for in the data
    folders (`data_folders`), then downloaded. Failing that, the reference manual that comes with Python takes its place,
    with a notice.

    Raises UserError where there is no such file, it cannot be read, or it holds nothing to train on.
    """
    if data in KNOWN_CORPORA:
        known = KNOWN_CORPORA[data].load(data)
        return known if validation is None else _held_out(known, [known.split()[0]], validation)
    found = read_documents(data)
    name = find_data(data).resolve().stem
    if validation is not None:
        return _held_out(Corpus(name, "", found.origin), found.train or found.validation, validation)
    if found.validation and not found.train:
        raise UserError(f"{data} has only files for validation, by their names: name files to train on.")
    parts = (found.train, found.validation) if found.validation else share(found.train, str)
    return (
        _joined(Corpus(name, "", found.origin), *parts)
        if parts
        else Corpus(name, BETWEEN_DOCUMENTS.join(found.train), found.origin)
    )


def read_documents(data: str) -> Documents:
    """Return the texts of a file or a folder. Raises UserError where there are none, or nothing is in them to learn."""
    path = find_data(data)
    if not data or not _exists(path):  # Path("") would be the current folder
        raise UserError(_no_such_data(data, path))
    if is_shards(path):
        raise UserError(
            f"{path} holds token shards, and this needs a text: name the one that they were made of."
        )
    files = files_of(path, tuple(TEXT_READERS))
    parts = [
        parse_rows(
            (row for file in part for row in TEXT_READERS.get(file.suffix.lower(), text_rows)(file)), text_of
        )
        for part in (files.train, files.validation)
    ]
    notes = "; ".join(filter(None, (files.notes, report(str(path), *parts))))
    train, validation = (part.records for part in parts)
    _require_variety(train or validation, path)
    return Documents(train, validation, f"{path} ({notes})" if notes else str(path))


def _held_out(corpus: Corpus, train: Sequence[str], validation: str) -> Corpus:
    """Return these training documents with validation documents of their own."""
    held_out = read_documents(validation)
    joined = _joined(corpus, train, held_out.validation or held_out.train)
    return replace(joined, origin=f"{corpus.origin}, and {held_out.origin}")


def _joined(corpus: Corpus, train: Sequence[str], validation: Sequence[str]) -> Corpus:
    text = "".join(document + BETWEEN_DOCUMENTS for document in train)
    return replace(corpus, text=text + BETWEEN_DOCUMENTS.join(validation), train_length=len(text))


def split(text: str) -> tuple[str, str]:
    """Return the first 90% for training and the rest for validation, as in the lecture."""
    at = int(0.9 * len(text))
    return text[:at], text[at:]


def require_length(text: Sized, minimum: int, what: str, unit: str = "character") -> None:
    """Raise UserError if `text`, called `what`, has fewer than `minimum` (block_size + 1) of its units."""
    if len(text) < minimum:
        raise UserError(
            f"{what} has {len(text):,} {unit}s and needs at least {minimum:,} (block_size + 1): "
            "use a longer text or a smaller block_size."
        )


# Known corpora


def data_folders() -> list[Path]:
    """Return where data are looked for: $FOLIO_DATA, then the user's cache folder. Downloads go to the first of them."""
    import pooch

    named = os.environ.get("FOLIO_DATA")
    cache = Path(pooch.os_cache("folio"))
    return [Path(named).expanduser(), cache] if named else [cache]


def find_data(path: str | Path) -> Path:
    """Return the path of a file or folder: in the current folder, or else below the first of `data_folders` that has it.

    A path to nothing is returned as it is: whoever reads it reports the error.
    """
    named = Path(os.path.expanduser(path))
    if named.is_absolute() or os.path.exists(named):
        return named
    below = (folder / named for folder in data_folders())
    return next((found for found in below if os.path.exists(found)), named)


class NamedCorpus(Protocol):
    """A corpus with a name."""

    def load(self, name: str) -> Corpus: ...


@dataclass(frozen=True)
class KnownCorpus:
    """A corpus with a path below a data folder, and a URL to download it from."""

    path: str
    sha256: str
    url: str

    def load(self, name: str) -> Corpus:
        """Read the corpus from the first data folder that has an intact copy, or download it.

        Without either, return Python's reference manual, with a notice.
        """
        folders = data_folders()
        notices: list[str] = []
        for path in dict.fromkeys(folder / self.path for folder in folders):
            try:
                raw = path.read_bytes()
            except OSError:
                continue
            if hashlib.sha256(raw).hexdigest() == self.sha256:
                shortest = min(str(path), os.path.relpath(path), key=len)
                return Corpus(name, decode(raw, path), shortest, tuple(notices))
            notices.append(
                f"{path} is not the {name} that folio knows (its checksum differs), so it is not used."
            )
        target = folders[0] / self.path
        try:
            _download(self, target)
            return Corpus(name, read_text(target), f"{target} (downloaded from {self.url})", tuple(notices))
        except (OSError, ValueError) as error:
            notices.append(
                f"{name} is not on this machine and could not be downloaded ({type(error).__name__}): using Python's "
                f"language reference instead. To use {name}, put {self.url} at {target}."
            )
        origin = "the language reference in Python"
        return Corpus("python-reference", _python_reference(), origin, tuple(notices))


@dataclass(frozen=True)
class GeneratedCorpus:
    """A corpus that folio generates, always the same."""

    make: Callable[[], str]

    def load(self, name: str) -> Corpus:
        """Generate the corpus."""
        return Corpus(name, self.make(), "generated by folio")


KNOWN_CORPORA: dict[str, NamedCorpus] = {
    "shakespeare": KnownCorpus(
        path="tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    ),
    "arithmetic": GeneratedCorpus(arithmetic.text),
}


def _download(known: KnownCorpus, target: Path) -> None:
    """Fetch a corpus to `target`, where it appears whole or not at all.

    Raises OSError (requests' errors are) without a network, ValueError if the checksum differs.
    """
    import logging

    import pooch

    # It would log what the corpus's origin says.
    pooch.get_logger().setLevel(logging.ERROR)
    pooch.retrieve(
        known.url,
        known_hash=f"sha256:{known.sha256}",
        fname=target.name,
        path=target.parent,
        downloader=pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUTS),
    )


def _python_reference() -> str:
    from pydoc_data.topics import topics

    return BETWEEN_DOCUMENTS.join(text for _, text in sorted(topics.items()))


def _no_such_data(data: str, path: Path) -> str:
    try:
        neighbors = os.listdir(path.parent)
    except (OSError, ValueError):
        neighbors = []
    close = get_close_matches(path.name, [*KNOWN_CORPORA, *neighbors], n=1)
    guess = [name if name in KNOWN_CORPORA else path.with_name(name) for name in close]
    hint = f"; did you mean {guess[0]}?" if guess else "."
    return f"There is no file or folder {data!r}, and the corpora known by name are: {', '.join(KNOWN_CORPORA)}{hint}"


# Files


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True  # whoever reads it reports the error
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False
    return True


def text_of(row: Fields, where: str) -> str:
    """Return the text of a row. Raises UserError where it has none, or one that no file could hold."""
    value = row.get("text")
    if not isinstance(value, str):
        raise UserError('no string under "text"; every row needs one.')
    # JSON can spell half of a surrogate pair, which no file could hold as UTF-8.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise UserError(f'"text" has half of a surrogate pair ({half!r}); fix or remove it.') from error
    return unix_lines(value)


def _require_variety(documents: Sequence[str], path: Path) -> None:
    characters = set[str]().union(*documents)
    if not characters or all(character.isspace() for character in characters):
        raise UserError(f"{path} is empty: name a file with text in it.")
    if len(characters) == 1:
        (only,) = characters
        raise UserError(
            f"{path} holds only the character {only!r}, over and over: there is nothing to learn."
        )
