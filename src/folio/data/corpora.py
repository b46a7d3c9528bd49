"""Find and read plain text to train on."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from folio.data import arithmetic
from folio.data.rows import Row, decode, jsonl_rows, parquet_rows, read_text, unix_lines, unreadable
from folio.errors import UserError

BETWEEN_DOCUMENTS = "\n\n"
FOLDER_SUFFIXES = (".txt", ".jsonl", ".parquet")
PIECE = 2**16
"""Characters tokenized at once: a tokenizer needs much memory for a long text."""
DOWNLOAD_TIMEOUTS = (2, 10)
"""Seconds to connect to one address, and to wait for the next bytes. A host may have several addresses; the first is
short so that a network that drops all packets is noticed within seconds."""


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from.

    origin:   a description for the user: which file, or "downloaded from ...".
    notices:  what the user should know about how it was found.
    """

    name: str
    text: str
    origin: str
    notices: tuple[str, ...] = ()

    def split(self) -> tuple[str, str]:
        """Return the training and the validation text (see `split`)."""
        return split(self.text)

    @property
    def sha256(self) -> str:
        """Digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load_corpus(data: str) -> Corpus:
    """Find and read a text to train on.

    data: the name of a known corpus (`KNOWN_CORPORA`), or a path: `.jsonl` and `.parquet` with a `text` in
    every row, a folder (its `.txt`, `.jsonl` and `.parquet` files in order of name, not those of folders inside
    it), or anything else that is UTF-8 text. Documents are joined by a blank line. `find_data` says where a path
    is looked for. A known name comes before a file of the same name; write ./name for the file.

    A byte order mark at the start is dropped and "\\r\\n" becomes "\\n", so that a text is the same whichever
    system it was saved on; all else stays as it is. A known corpus is looked for in the data folders
    (`data_folders`), then downloaded. Failing that, the reference manual that comes with Python takes its place, with a
    notice.

    Raises UserError where there is no such file, it cannot be read, or it holds nothing to train on.
    """
    if data in KNOWN_CORPORA:
        return KNOWN_CORPORA[data].load(data)
    path = find_data(data)
    if not data:  # Path("") would be the current folder
        raise UserError(_no_such_data(data, path))
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(_no_such_data(data, path)) from error
    text = _read_folder(path) if is_folder else _read(path)
    _require_variety(text, path)
    return Corpus(path.resolve().stem, text, str(path))


def split(text: str) -> tuple[str, str]:
    """Return the first 90% for training and the rest for validation, as in the lecture."""
    at = int(0.9 * len(text))
    return text[:at], text[at:]


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Yield the text in order; each piece ends with the first line end after `size` characters."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + size) + 1 or len(text)
        yield text[start:end]
        start = end


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
            return Corpus(name, _read(target), f"{target} (downloaded from {self.url})", tuple(notices))
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


def _read(path: Path) -> str:
    """Return one file's text, read by its suffix."""
    return BETWEEN_DOCUMENTS.join(READERS.get(path.suffix.lower(), _plain_documents)(path))


def _read_folder(folder: Path) -> str:
    try:
        # Hidden files are not the user's text: macOS leaves binary ._name.txt beside name.txt.
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in FOLDER_SUFFIXES and path.is_file() and not path.name.startswith(".")
        )
    except OSError as error:
        raise unreadable(folder, error) from error
    if not files:
        raise UserError(
            f"{folder} has no {', '.join(FOLDER_SUFFIXES[:-1])} or {FOLDER_SUFFIXES[-1]} file in it: "
            "name a file, or another folder."
        )
    return BETWEEN_DOCUMENTS.join(_read(path) for path in files)


def _plain_documents(path: Path) -> Iterator[str]:
    yield read_text(path)


def _jsonl_documents(path: Path) -> Iterator[str]:
    return map(_document, jsonl_rows(path))


def _parquet_documents(path: Path) -> Iterator[str]:
    return map(_document, parquet_rows(path, columns=["text"]))


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".jsonl": _jsonl_documents,
    ".parquet": _parquet_documents,
}
"""Readers by suffix; all other files are plain text."""


def _document(row: Row) -> str:
    value = row.value.get("text") if isinstance(row.value, dict) else None
    if not isinstance(value, str):
        raise UserError(f'{row.where}: no string under "text"; every row needs one.')
    # JSON can spell half of a surrogate pair, which no file could hold as UTF-8.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise UserError(
            f'{row.where}: "text" has half of a surrogate pair ({half!r}); fix or remove it.'
        ) from error
    return unix_lines(value)


def _require_variety(text: str, path: Path) -> None:
    if not text or text.isspace():
        raise UserError(f"{path} is empty: name a file with text in it.")
    if text.count(text[0]) == len(text):
        raise UserError(
            f"{path} holds only the character {text[0]!r}, over and over: there is nothing to learn."
        )
