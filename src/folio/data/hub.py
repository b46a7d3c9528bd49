"""Read datasets of the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from folio.errors import UserError

logger = logging.getLogger(__name__)

NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:.*)?")
DEFAULT_SPLIT = "train"


def is_hub_name(data: str) -> bool:
    """Return whether this looks like OWNER/NAME or OWNER/NAME:SUBSET:SPLIT."""
    return NAME.fullmatch(data) is not None


def hub_rows(data: str) -> tuple[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    """Return a description of a dataset for the user, and its rows, each with its place.

    data: OWNER/NAME, OWNER/NAME:SUBSET or OWNER/NAME:SUBSET:SPLIT, with subset and split on the dataset's page.
    A subset may also be a folder of the dataset, and may be empty where there is only one. The split is train by default,
    and may be cut, as in train[:1000]. `datasets` downloads it once, into its cache; the search, which takes half a minute
    without a network, is logged at level INFO.

    Raises UserError where the library is missing, the Hub cannot be reached, or there is no such dataset, subset or split.
    """
    name, subset, split = (*data.split(":", 2), "", "")[:3]
    split = split or DEFAULT_SPLIT
    dataset = _load(name, subset, split)
    rows = ((f"{name}, row {number} of {split}", row) for number, row in enumerate(dataset, start=1))
    return f"{':'.join(filter(None, (name, subset, split)))} of the Hugging Face Hub", rows


def _load(name: str, subset: str, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"There is no file or folder {name}. To read datasets of the Hugging Face Hub, folio needs "
            "another library: pip install 'folio-gpt[hub]'."
        ) from None
    # A logger, not a warning: nothing is wrong, and the caller decides whether to show it.
    logger.info("looking for %s on the Hugging Face Hub", name)
    subsets: list[str] = []
    try:
        with _quiet("huggingface_hub"):  # it would log every attempt of every request
            subsets = datasets.get_dataset_config_names(name)
            # What is no subset may be a folder, as harmless-base is of Anthropic/hh-rlhf.
            place = {"name": subset or None} if subset in (*subsets, "") else {"data_dir": subset}
            return datasets.load_dataset(name, **place, split=split)
    except datasets.exceptions.DatasetNotFoundError:
        raise UserError(
            f"There is no file or folder {name}, and no dataset of that name on the Hugging Face Hub that you may "
            "read. If it asks for consent, give it on its page, then run: hf auth login."
        ) from None
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"{name}: {_first_line(error)}. Its subsets: {', '.join(subsets)}. Name the one you want, as "
            f"{name}:SUBSET:SPLIT."
        ) from None
    except Exception as error:  # whatever the library's own libraries raise when a download fails
        raise UserError(
            f"There is no file or folder {name}, and it cannot be read from the Hugging Face Hub "
            f"({_first_line(error)}). Try again with a network, or download it and name the files."
        ) from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a library's logger within the block."""
    loud = logging.getLogger(name)
    level = loud.level
    loud.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        loud.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n", 1)[0].rstrip(".")
