"""The settings that every run has, and those that a run was started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from folio.config import Positive, Settings, flatten, from_table, setting_types, to_table
from folio.errors import UserError
from folio.runs.directory import RunDirectory

Config = TypeVar("Config")
ELSEWHERE = "choose another --run, or move that folder away."
"""What to do where a run cannot go on. `folio run` takes names of runs from the text, so there only the second helps."""
NOT_KEPT = ("run", "resume")
"""Settings that say which run, not what it does."""

ADJUSTABLE = ("minutes",)
"""Settings that may differ when a run is resumed: its time is then what is given, or what is left of the time before."""


BEFORE_IT_WAS_THERE = {"reserve": "none"}
"""Settings that runs of earlier versions lack, and what these did."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Where a run goes."""

    run: Path | None = None
    """Run directory; by default a folder in runs/, named after the data or the model and the stage."""
    resume: bool = False
    """Resume the run in that directory, if there is one."""
    minutes: Positive | None = None
    """Time for the run, with start-up, evaluations and saving: as many steps are made as fit into it. By default there is
    no limit; `folio pretrain` takes 5 minutes, unless the number of steps is given."""


def stored_config(run: RunDirectory, config: Config, *, stage: str, resume: bool) -> Config:
    """Return the config that a run of this stage was started with.

    A setting that is left at its default means "as before"; one that differs both from the default and from
    the run's own is a contradiction. Raises UserError for those, for a run of another stage, and for an unfinished run
    that cannot be resumed or is not to be.
    """
    info = run.read_info()
    if info["stage"] != stage:
        raise UserError(f"{run.path} was made by folio {info['stage']}, not folio {stage}: {ELSEWHERE}")
    if run.is_old(info):
        if info["status"] == "finished":
            return config
        raise UserError(
            f"{run.path} is an unfinished run of an older folio ({info.get('folio', 'unknown')}), which cannot be "
            f"resumed: {ELSEWHERE}"
        )
    if not resume and info["status"] != "finished":
        raise UserError(f"{run.path} holds an unfinished run: resume with --resume, {ELSEWHERE}")
    cls = type(config)
    stored = from_table(cls, with_missing(info["config"], cls), str(run.info_file))
    asked, default = flatten(to_table(config)), flatten(to_table(cls()))
    for key, value in flatten(to_table(stored)).items():
        if key not in (*NOT_KEPT, *ADJUSTABLE) and asked[key] not in (value, default[key]):
            raise UserError(f"{run.path} was started with {key} {value!r}, not {asked[key]!r}: {ELSEWHERE}")
    adjusted = {key: asked[key] for key in ADJUSTABLE if asked.get(key) != default.get(key)}
    return from_table(cls, adjusted, str(run.info_file), stored)


def with_missing(table: dict[str, Any], cls: Any) -> dict[str, Any]:
    """Return a run's settings with those that its version did not have, as it went without them."""
    settings, given = setting_types(cls), flatten(table)
    missing = {
        key: value for key, value in BEFORE_IT_WAS_THERE.items() if key in settings and key not in given
    }
    return {**missing, **table}
