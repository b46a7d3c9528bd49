"""What the page shows of a run, as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from folio.config import flatten
from folio.errors import UserError
from folio.report.reference import reference_of, verdict_of
from folio.report.rl_diagnosis import TREND_ROLLOUTS, diagnose
from folio.report.rl_figure import PANELS
from folio.report.rl_history import History
from folio.report.rl_summary import answer_of, is_sample, main_metrics, metrics_table
from folio.runs.directory import RunDirectory, is_step
from folio.runs.listing import next_command, status_of
from folio.runs.stages import STAGES, kept_record
from folio.server.following import Metrics, read_after

DIGITS = 6
"""Significant digits of a metric that is sent."""
SHARES = ("accuracy", "met", "prompt_wins", "stop_share")
"""Metrics that are told in percent."""
TIGHT, LATE = 3.0, 20.0
"""A running run is told to be slow when nothing was recorded for so many steps' time, and so many seconds: an evaluation and
a save take their time too."""


def summary(run: RunDirectory, metrics: Metrics) -> dict[str, Any]:
    """Return a run's line in the list; of one with a damaged run.json only that."""
    try:
        info = run.read_info()
    except UserError as error:
        return {"status": "damaged", "problem": str(error)}
    metrics.update()
    stage = info["stage"]
    words = STAGES[stage].metrics if stage in STAGES else {}
    kept = kept_record(metrics.evaluated, words) or {}
    return {
        "stage": stage,
        "status": status_of(run, info),
        "step": metrics.last.get("step", 0),
        "steps": info["plan"].get("steps"),
        "kept": [[words[name], in_words(name, kept[name])] for name in words if name in kept],
        "changed": changed(run),
        "is_rl": "rollout" in metrics.last,
    }


def detail(run: RunDirectory, metrics: Metrics) -> dict[str, Any]:
    """Return what is known of a run but its curves and samples. Raises UserError where its run.json is damaged."""
    told = summary(run, metrics)
    info = run.read_info()
    settings, stage, status = flatten(info["config"]), info["stage"], told["status"]
    steps, step_seconds = told["steps"], metrics.step_seconds
    left = (steps - told["step"]) * step_seconds if steps and step_seconds is not None else None
    age = time.time() - told["changed"] if told["changed"] else None
    return told | {
        "data": info.get("data"),
        "hardware": info.get("hardware"),
        "before": [
            [words[name], in_words(name, value)]
            for name, value in (info.get("before") or {}).items()
            if name in (words := STAGES[stage].metrics if stage in STAGES else {})
        ],
        "from": settings.get("model"),
        "recipe": Path(str(info["recipe"])).parent.name if info.get("recipe") else None,
        "model": model_words(info["plan"].get("model")),
        "seconds": metrics.last.get("train_seconds"),
        "seconds_left": left if status == "running" else None,
        "step_seconds": step_seconds,
        "age": age,
        "is_slow": bool(
            status == "running" and age is not None and age > max(LATE, TIGHT * (step_seconds or 0.0))
        ),
        "verdict": verdict_of(info, metrics.evaluated) if stage == "pretrain" else None,
        "band": band(info),
        "command": next_command(run, status, stage),
        "checkpoints": list(run.models()),
    }


def model_words(model: Mapping[str, Any] | None) -> str | None:
    """Return the sizes of a planned model in words, or None where they are not known."""
    if not model:
        return None
    return f"{model['n_layer']} layers, width {model['n_embd']}, context {model['block_size']}"


def changed(run: RunDirectory) -> float | None:
    """Return when a run last recorded something, in seconds since 1970."""
    for file in (run.metrics_file, run.info_file):
        try:
            return file.stat().st_mtime
        except OSError:
            continue
    return None


def band(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where the validation loss of the recipe's measured runs was, by step; None where a run cannot be compared."""
    reference = reference_of(info)
    if reference is None or reference.mismatch(info):
        return None
    bands = [reference.band(share) or (math.nan, math.nan) for share in reference.shares]
    steps = info["plan"]["steps"]
    return {
        "steps": [round(share * steps) for share in reference.shares],
        "low": [number(low) for low, _ in bands],
        "high": [number(high) for _, high in bands],
        "landmarks": reference.landmarks,
        "hardware": reference.hardware,
    }


def curves(run: RunDirectory, cursor: str) -> dict[str, Any]:
    """Return the metrics of the steps after a cursor, a column for each name (see `read_after`)."""
    piece = read_after(run.metrics_file, cursor)
    return {
        "cursor": piece.cursor,
        "is_first": piece.is_first,
        "is_last": piece.is_last,
        "columns": columns([record for record in piece.records if is_step(record)]),
    }


def columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return records as columns; None where a record lacks a name."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [number(record.get(name)) for record in records] for name in names}


def samples(run: RunDirectory, cursor: str) -> dict[str, Any]:
    """Return the samples after a cursor; those of an assistant without their questions (see `read_after`)."""
    piece = read_after(run.samples_file, cursor)
    return {
        "cursor": piece.cursor,
        "is_first": piece.is_first,
        "is_last": piece.is_last,
        "items": [
            {"step": each["step"], "prompt": each["prompt"], "text": answer_of(each["text"])}
            for each in piece.records
            if is_sample(each)
        ],
    }


def rl(run: RunDirectory) -> dict[str, Any]:
    """Return what `folio rl-report` tells and draws of a run of PPO or GRPO. Raises UserError for any other."""
    history = History.from_run(run)
    findings = diagnose(history)
    has_trend = history.n_rollouts >= TREND_ROLLOUTS
    sentences = [] if has_trend else [f"Fewer than {TREND_ROLLOUTS} rollouts: too few to see a trend."]
    if not findings:
        sentences += ["No problems found in the metrics."] * has_trend + [main_metrics(history)]
    return {
        "rollouts": history.n_rollouts,
        "planned": number(history.config.get("rollouts")),
        "table": metrics_table(history),
        "findings": [vars(finding) for finding in findings],
        "words": " ".join(sentences),
        "panels": [panel for panel in panels(history) if panel["curves"]],
    }


def panels(history: History) -> Iterable[dict[str, Any]]:
    """Yield the panels of the figure of a run of PPO or GRPO, each with the curves that have points."""
    for panel in PANELS:
        drawn = [(curve, points) for curve in panel.curves if (points := curve.series(history))]
        yield {
            "title": panel.title,
            "unit": panel.unit,
            "level": panel.level,
            "within": panel.within,
            "curves": [
                {
                    "label": curve.label,
                    "is_held_out": bool(curve.marker),
                    "x": list(points.rollouts),
                    "y": [number(value) for value in points.values],
                }
                for curve, points in drawn
            ],
        }


def in_words(name: str, value: Any) -> str:
    """Return a metric as text: a share in percent, any other with four digits."""
    if number(value) is None:
        return "not known"
    return f"{value:.1%}" if name.removeprefix("val_") in SHARES else f"{value:.4g}"


def number(value: Any) -> float | None:
    """Return a metric with few digits; None for what is missing, NaN or infinite, which JSON cannot hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
