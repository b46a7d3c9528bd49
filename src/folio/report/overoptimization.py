"""Runs pushed away from their reference by different amounts: what the reward says of that, and what the gold reward."""

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
from folio.report.rl_figure import DPI, GREY, STYLE, draw_ring
from folio.report.rl_history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#000000", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), and one of Tol's: told apart by the colour-blind as well."""
FIGURES = ("val_reward", "val_gold")
"""The reward that is learned from, and the one that counts."""


@dataclass(frozen=True)
class Climb:
    """A run's evaluations, the start among them. What was not measured is not a number.

    kl: nats an answer, never below 0. gains: of reward and gold reward over the start, by name, in standard deviations
    of the answers at the start: so different rewards share an axis. gold_errors: standard errors of the gold gains.
    """

    label: str
    history: History
    rollouts: Sequence[int]
    kl: Sequence[float]
    gains: Mapping[str, Sequence[float]]
    gold_errors: Sequence[float]

    @classmethod
    def of(cls, history: History, label: str) -> Climb:
        """Raises UserError where nothing was evaluated."""
        points = history.evaluations
        if not points:
            raise UserError(f"{label} has not been evaluated yet: wait for its first evaluation.")
        n_answers = max(1.0, history.setting("validation_prompts", 1))
        gains, errors = {}, {}
        for name in FIGURES:
            values = [point.get(name, math.nan) for point in points]
            spreads = [point.get(f"{name}_std", 0.0) for point in points]
            # Where all answers were worth the same at the start, the widest spread there was.
            unit = spreads[0] or max(spreads) or 1.0
            gains[name] = [(value - values[0]) / unit for value in values]
            errors[name] = [spread / unit / math.sqrt(n_answers) for spread in spreads]
        return cls(
            label,
            history,
            [round(point["rollout"]) for point in points],
            [max(0.0, point["val_kl"]) for point in points],
            gains,
            errors["val_gold"],
        )

    def highest(self, name: str) -> int | None:
        """The place of the evaluation with the highest reward of that name, or None where it was not measured."""
        known = [i for i, gain in enumerate(self.gains[name]) if not math.isnan(gain)]
        return max(known, key=lambda i: self.gains[name][i], default=None)


def climbs(histories: Sequence[tuple[str, History]]) -> list[Climb]:
    """Named runs, those held least first; each is called by its kl_coef, or by its name if another has the same."""
    ordered = sorted(histories, key=lambda pair: pair[1].setting("kl_coef", 0.0))
    labels = [f"kl_coef {history.setting('kl_coef', 0.0):g}" for _, history in ordered]
    often = Counter(labels)
    return [
        Climb.of(history, label if often[label] == 1 else name)
        for (name, history), label in zip(ordered, labels, strict=True)
    ]


def draw_climbs(runs: Sequence[Climb], path: Path) -> None:
    """Gains over the distance from the reference, a colour for each run (after figure 1 of Gao et al., 2022).

    Distances are drawn by the root of the KL, along which a reward grows about evenly. The image replaces `path` at
    once. Raises UserError where it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with mpl.rc_context({**STYLE, "font.size": 11, "legend.fontsize": 10}):
        figure = Figure(figsize=(9, 6), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=GREY, linewidth=1, linestyle=":")
        for i, run in enumerate(runs):
            draw_climb(axes, run, COLORS[i % len(COLORS)])
        axes.set_xscale("function", functions=(root, square))
        furthest = max(kl for run in runs for kl in run.kl)
        axes.set_xlim(0, 1.05 * max(furthest, 0.01))
        axes.set_xlabel("KL to the reference (nats an answer, drawn by its root)")
        axes.set_ylabel("gain since the start (standard deviations of its answers)")
        axes.set_title("What the reward says, and what is true")
        kinds = [
            Line2D([], [], color=GREY, linestyle="--", marker="o", markerfacecolor="white", label="reward"),
            Line2D([], [], color=GREY, marker="D", label="gold reward ± standard error; highest ringed"),
        ]
        colors = [
            Line2D([], [], color=COLORS[i % len(COLORS)], linewidth=3, label=run.label)
            for i, run in enumerate(runs)
        ]
        axes.legend(handles=kinds + colors)
        save_figure(figure, path)


def draw_climb(axes: Axes, run: Climb, color: str) -> None:
    """The reward dashed, the gold reward solid."""
    reward, gold = (run.gains[name] for name in FIGURES)
    axes.plot(run.kl, reward, color=color, linestyle="--", marker="o", markersize=5, markerfacecolor="white")
    axes.errorbar(
        run.kl, gold, run.gold_errors, color=color, linewidth=2, elinewidth=1, marker="D", markersize=5
    )
    highest = run.highest("val_gold")
    if highest is not None:
        draw_ring(axes, run.kl[highest], gold[highest], color)


def root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what is drawn; matplotlib asks a little below 0 as well."""
    return np.sqrt(np.maximum(values, 0.0))


def square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The way back."""
    return np.square(values)
