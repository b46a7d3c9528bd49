"""The settings that a run was started with, when it is gone on with."""

from __future__ import annotations

from typing import Any, TypeVar

from folio.config import from_table, to_table
from folio.errors import UserError
from folio.runs.directory import RunDirectory

Config = TypeVar("Config")
NOT_KEPT = ("run", "resume")
"""Settings that say which run, not what it does."""


def stored_config(run: RunDirectory, config: Config, *, stage: str, resume: bool) -> Config:
    """The config that a run of this stage was started with. Raises UserError if it should not or cannot be continued.

    A setting that is left at its default means "as before"; one that differs both from the default and from
    the run's own is a contradiction.
    """
    info = run.read_info()
    if info["stage"] != stage:
        raise UserError(
            f"{run.path} was made by folio {info['stage']}, not folio {stage}: choose another --run."
        )
    if not resume and info["status"] != "finished":
        raise UserError(f"{run.path} holds an unfinished run: go on with --resume, or choose another --run.")
    cls = type(config)
    stored = from_table(cls, info["config"], str(run.info_file))
    asked, default = flat(to_table(config)), flat(to_table(cls()))
    for key, value in flat(to_table(stored)).items():
        if key not in NOT_KEPT and asked[key] not in (value, default[key]):
            raise UserError(
                f"{run.path} was started with {key} {value!r}, not {asked[key]!r}: choose another --run."
            )
    return stored


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    result: dict[str, Any] = {}
    for key, value in table.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result
