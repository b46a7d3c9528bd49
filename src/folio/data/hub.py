"""Datasets of the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from folio.errors import UserError
from folio.log import notify

NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:.*)?")
DEFAULT_SPLIT = "train"


def is_hub_name(data: str) -> bool:
    """Whether this looks like OWNER/NAME, or OWNER/NAME:SUBSET:SPLIT."""
    return NAME.fullmatch(data) is not None


def hub_rows(data: str) -> tuple[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    """Where a dataset is from, in words, and its rows, each with words on where it stands.

    data: OWNER/NAME, OWNER/NAME:SUBSET or OWNER/NAME:SUBSET:SPLIT, with subset and split as the dataset's page calls
    them. A subset may also be a folder of the dataset, and be left empty where there is but one. The split is train if
    none is given, and may be cut, as in train[:1000]. It is downloaded once, and kept where `datasets` keeps them all.

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
            f"There is no file or folder {name}. To take it for a dataset of the Hugging Face Hub, folio needs a "
            "library: pip install 'folio-gpt[hub]'."
        ) from None
    notify(f"looking for {name} on the Hugging Face Hub")
    # The library would tell of every try of every request.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    subsets: list[str] = []
    try:
        subsets = datasets.get_dataset_config_names(name)
        # What is no subset may be a folder, as harmless-base is of Anthropic/hh-rlhf.
        place = {"name": subset or None} if subset in (*subsets, "") else {"data_dir": subset}
        return datasets.load_dataset(name, **place, split=split)
    except datasets.exceptions.DatasetNotFoundError:
        raise UserError(
            f"There is no file or folder {name}, and no dataset of that name that may be read on the Hugging Face Hub. "
            "Those that ask for consent want it on their page, and then: hf auth login."
        ) from None
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"{name}: {_first_line(error)}. Its subsets: {', '.join(subsets)}. Say what you want of it after the name, as "
            f"{name}:SUBSET:SPLIT."
        ) from None
    except Exception as error:  # whatever the library's own libraries raise where a download fails
        raise UserError(
            f"There is no file or folder {name}, and it cannot be had from the Hugging Face Hub "
            f"({_first_line(error)}). Try again with a network, or download it and name the files."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n", 1)[0].rstrip(".")
