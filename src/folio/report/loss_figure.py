"""Draw a run's loss curves: loss.png."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from folio.report.figure import save_figure
from folio.report.reference import Reference


def plot_losses(
    records: Sequence[dict[str, Any]], total_tokens: int, path: Path, reference: Reference | None
) -> None:
    """Draw training and validation loss over tokens, with the reference's band and landmarks if there is one.

    records: the lines of metrics.jsonl. total_tokens: training tokens of the whole planned run. The image replaces
    `path` atomically.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="tight")
    axes = figure.subplots()
    tokens = [record["tokens"] for record in records]
    losses = [record["loss"] for record in records]
    axes.plot(tokens, _smooth(losses), color="tab:blue", linewidth=1, alpha=0.6, label="training loss")
    evaluated = [record for record in records if "val_loss" in record]
    axes.plot(
        [record["tokens"] for record in evaluated],
        [record["val_loss"] for record in evaluated],
        color="tab:orange",
        marker="o",
        markersize=4,
        label="validation loss",
    )
    top = max(losses[min(len(losses) - 1, 20)], *(record["val_loss"] for record in evaluated), 0.0)
    if reference is not None and tokens:
        bands = [reference.band(share) or (0.0, 0.0) for share in reference.shares]
        axes.fill_between(
            [share * total_tokens for share in reference.shares],
            [low for low, _ in bands],
            [high for _, high in bands],
            color="tab:green",
            alpha=0.2,
            label="measured runs of this recipe",
        )
        for (name, loss), style in zip(reference.landmarks.items(), cycle(("--", ":", "-.")), strict=False):
            axes.axhline(loss, color="gray", linestyle=style, linewidth=1, label=f"{loss}: {name}")
    axes.set_ylim(top=top * 1.02)
    axes.set_xlabel("tokens")
    axes.set_ylabel("loss (nats per token)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def _smooth(values: Sequence[float], memory: float = 0.9) -> list[float]:
    """Return the bias-corrected exponential moving average; losses of single steps are too noisy to read."""
    average, weight, smoothed = 0.0, 0.0, []
    for value in values:
        average = memory * average + (1 - memory) * value
        weight = memory * weight + (1 - memory)
        smoothed.append(average / weight)
    return smoothed
