"""Compare RL runs by reward and gold reward over the KL to the reference (Gao et al., 2022)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from folio.errors import UserError
from folio.report.figure import save_figure
from folio.report.rl_figure import DPI, GRAY, STYLE, draw_ring
from folio.report.rl_history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#000000", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), and one of Tol's: distinguishable with color blindness."""
REWARDS = ("val_reward", "val_gold")
"""The reward that is optimized, and the gold reward."""


@dataclass(frozen=True)
class RewardCurve:
    """A run's rewards over its KL to the reference, a point per evaluation. NaN where a reward was not measured.

    kl: nats per answer, clipped at 0. gains: increase of each reward over the first evaluation, in standard deviations
    of its answers, so that different rewards share an axis. gold_errors: standard errors of the gold gains.
    """

    label: str
    history: History
    rollouts: Sequence[int]
    kl: Sequence[float]
    gains: Mapping[str, Sequence[float]]
    gold_errors: Sequence[float]

    @classmethod
    def from_history(cls, history: History, label: str) -> RewardCurve:
        """Return the curve of a run. Raises UserError if it has no evaluation."""
        points = history.evaluations
        if not points:
            raise UserError(f"{label} has not been evaluated yet: wait for its first evaluation.")
        n_answers = max(1.0, history.setting("validation_prompts", 1))
        gains, errors = {}, {}
        for name in REWARDS:
            values = [point.get(name, math.nan) for point in points]
            stds = [point.get(f"{name}_std", 0.0) for point in points]
            # If all answers had the same reward at the start, use the largest standard deviation.
            unit = stds[0] or max(stds) or 1.0
            gains[name] = [(value - values[0]) / unit for value in values]
            errors[name] = [std / unit / math.sqrt(n_answers) for std in stds]
        return cls(
            label,
            history,
            [round(point["rollout"]) for point in points],
            [max(0.0, point["val_kl"]) for point in points],
            gains,
            errors["val_gold"],
        )

    def highest(self, name: str) -> int | None:
        """Return the index of the evaluation with the highest reward of that name, or None if it was not measured."""
        known = [i for i, gain in enumerate(self.gains[name]) if not math.isnan(gain)]
        return max(known, key=lambda i: self.gains[name][i], default=None)


def reward_curves(histories: Sequence[tuple[str, History]]) -> list[RewardCurve]:
    """Return the curves of named runs by rising kl_coef, labeled by kl_coef, or by name where that is not unique."""
    ordered = sorted(histories, key=lambda pair: pair[1].setting("kl_coef", 0.0))
    labels = [f"kl_coef {history.setting('kl_coef', 0.0):g}" for _, history in ordered]
    counts = Counter(labels)
    return [
        RewardCurve.from_history(history, label if counts[label] == 1 else name)
        for (name, history), label in zip(ordered, labels, strict=True)
    ]


def draw_reward_curves(curves: Sequence[RewardCurve], path: Path) -> None:
    """Draw gains over KL, a color for each run (after figure 1 of Gao et al., 2022).

    The horizontal axis is scaled by the square root of the KL, in which rewards grow about linearly. The image
    replaces `path` atomically. Raises UserError if it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with mpl.rc_context({**STYLE, "font.size": 11, "legend.fontsize": 10}):
        figure = Figure(figsize=(9, 6), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=GRAY, linewidth=1, linestyle=":")
        for i, curve in enumerate(curves):
            draw_reward_curve(axes, curve, COLORS[i % len(COLORS)])
        axes.set_xscale("function", functions=(square_root, np.square))
        max_kl = max(kl for curve in curves for kl in curve.kl)
        axes.set_xlim(0, 1.05 * max(max_kl, 0.01))
        axes.set_xlabel("KL to the reference (nats per answer, square-root scale)")
        axes.set_ylabel("gain since the start (standard deviations of its answers)")
        axes.set_title("Reward and gold reward")
        kinds = [
            Line2D([], [], color=GRAY, linestyle="--", marker="o", markerfacecolor="white", label="reward"),
            Line2D([], [], color=GRAY, marker="D", label="gold reward ± standard error; highest ringed"),
        ]
        colors = [
            Line2D([], [], color=COLORS[i % len(COLORS)], linewidth=3, label=curve.label)
            for i, curve in enumerate(curves)
        ]
        axes.legend(handles=kinds + colors)
        save_figure(figure, path)


def draw_reward_curve(axes: Axes, curve: RewardCurve, color: str) -> None:
    """Draw a run's reward as a dashed line and its gold reward as a solid one."""
    reward, gold = (curve.gains[name] for name in REWARDS)
    axes.plot(
        curve.kl, reward, color=color, linestyle="--", marker="o", markersize=5, markerfacecolor="white"
    )
    axes.errorbar(
        curve.kl, gold, curve.gold_errors, color=color, linewidth=2, elinewidth=1, marker="D", markersize=5
    )
    highest = curve.highest("val_gold")
    if highest is not None:
        draw_ring(axes, curve.kl[highest], gold[highest], color)


def square_root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return square roots, 0 for negative values: matplotlib evaluates the scale slightly below 0."""
    return np.sqrt(np.maximum(values, 0.0))
