"""Draw the metrics of a PPO or GRPO run: rl.png."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from folio.report.figure import save_figure
from folio.report.rl_history import History, Series, first, last

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
"""Okabe and Ito (2008) and Tol (2021): distinguishable with color blindness."""
COLUMNS = 3
PANEL_INCHES = (4.1, 2.7)
DPI = 100
GRAY = "0.45"
OTHER_SCALE = 3.0
"""Ratio of value ranges above which gold reward and reward get separate axes."""
LEGEND_ROOM = 0.18
"""Share of a panel's height kept free for the legend where two axes share the panel."""
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRAY,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a path may hold a dollar sign
}


@dataclass(frozen=True)
class Curve:
    """A line in a panel. series: gets its points. marker: drawn at each point, for sparse evaluations."""

    label: str
    series: Callable[[History], Series]
    color: str
    line: str = "-"
    marker: str = ""


@dataclass(frozen=True)
class Panel:
    """A plot of related curves. level: a value to mark. within: the range that the axis shows at least."""

    title: str
    unit: str
    curves: Sequence[Curve]
    level: float | None = None
    within: tuple[float, float] | None = None


def in_training(name: str, label: str = "in training", **look: str) -> Curve:
    """Return the curve of a metric's mean over each rollout's steps."""
    return Curve(label, lambda history: history.over_rollouts(name), **{"color": BLUE, **look})


def at_first(name: str) -> Curve:
    """Return the curve of a metric in the first step on each rollout."""
    return Curve(name, lambda history: history.over_rollouts(name, first), BLUE)


def at_last(name: str) -> Curve:
    """Return the curve of a metric in the last step on each rollout."""
    return Curve(name, lambda history: history.over_rollouts(name, last), BLUE)


def held_out(name: str, label: str = "on held-out prompts", **look: str) -> Curve:
    """Return the curve of a metric on held-out prompts."""
    return Curve(
        label, lambda history: history.held_out(name), **{"color": VERMILLION, "marker": "o", **look}
    )


GOLD = held_out("gold", "gold, on held-out prompts", color=GREEN, marker="D")
SHARE = (0.0, 1.0)
PANELS: Sequence[Panel] = (
    Panel("Reward", "mean over answers", (in_training("reward"), held_out("reward"), GOLD)),
    Panel(
        "KL to the reference",
        "nats per answer",
        (
            in_training("kl", "k1"),
            in_training("kl_k3", "k3", color=PURPLE, line="--"),
            held_out("kl", "k1, held out"),
        ),
        level=0,
    ),
    Panel("Entropy", "nats per token", (in_training("entropy"),), within=(0, 0.1)),
    Panel("Length", "tokens per answer", (in_training("length"), held_out("length")), within=(0, 1)),
    Panel("Answers that stop", "share", (in_training("stop_share"), held_out("stop_share")), within=SHARE),
    Panel("Ratio", "first step on a rollout", (at_first("ratio"),), level=1, within=(0.98, 1.02)),
    Panel("Clip fraction", "last step on a rollout", (at_last("clip_fraction"),), within=(0, 0.05)),
    Panel("Step size", "approx_kl, nats per token, last step", (at_last("approx_kl"),), within=(0, 0.001)),
    Panel("Critic", "explained variance", (in_training("explained_variance"),), level=0, within=(0, 1)),
    Panel("Equal groups", "share", (in_training("equal_groups"),), within=SHARE),
    Panel("Distinct-2", "held out", (held_out("distinct_2"),), within=(0, 0.1)),
    Panel("Gradient norm", "before clipping", (in_training("gradient_norm"),), within=(0, 0.1)),
)


def draw_history(history: History, name: str, path: Path) -> None:
    """Draw a run's metrics over its rollouts, titled `name`. The image replaces `path` atomically.

    Raises UserError if it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [panel for panel in PANELS if any(curve.series(history) for curve in panel.curves)]
    # The first panel, the reward, is the most important one and takes two places.
    rows = -(-(len(panels) + 1) // COLUMNS)
    width, height = PANEL_INCHES
    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
        figure = Figure(figsize=(width * COLUMNS, height * rows + 0.4), dpi=DPI, layout=layout)
        grid = figure.add_gridspec(rows, COLUMNS)
        for place, panel in enumerate(panels, 1):
            row, column = divmod(place, COLUMNS)
            axes = figure.add_subplot(grid[0, :2] if place == 1 else grid[row, column])
            draw_panel(axes, panel, history)
            axes.set_xlim(-0.02 * history.n_rollouts, 1.02 * history.n_rollouts)
            if place + COLUMNS > len(panels):
                axes.set_xlabel("rollouts")
        figure.suptitle(f"{name}: {history.stage}", fontsize=10, color=GRAY)
        save_figure(figure, path)


def draw_panel(axes: Axes, panel: Panel, history: History) -> None:
    """Draw the curves that have data, with a legend if there are several."""
    from matplotlib.ticker import MaxNLocator

    series = {curve: points for curve in panel.curves if (points := curve.series(history))}
    if panel.level is not None:
        axes.axhline(panel.level, color=GRAY, linewidth=1, linestyle=":")
    twin = right_axis(axes, GOLD.color) if GOLD in series and needs_own_axis(series) else None
    lines = []
    for curve, points in series.items():
        target = twin if twin is not None and curve is GOLD else axes
        lines += draw_curve(
            target, curve, points, f"{curve.label} (right)" if target is twin else curve.label
        )
        if curve is GOLD:
            highest = points.values.index(max(points.values))  # a fall after it may be overoptimization
            draw_ring(target, points.rollouts[highest], points.values[highest], curve.color)
    if panel.within is not None:
        axes.update_datalim([(0, value) for value in panel.within])
        axes.autoscale_view()
    axes.set_title(panel.title)
    axes.set_title(panel.unit, loc="right", fontsize=9, fontweight="normal", color=GRAY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if twin is not None:
        for each in (axes, twin):
            low, high = each.get_ylim()
            each.set_ylim(low, high + LEGEND_ROOM * (high - low))
        twin.legend(handles=lines, loc="upper left", ncols=len(lines))
    elif len(lines) > 1:
        axes.legend(handles=lines)


def draw_ring(axes: Axes, x: float, y: float, color: str) -> None:
    """Draw a ring around a point, such as the maximum of a curve."""
    axes.plot([x], [y], "o", color=color, markersize=13, markerfacecolor="none", markeredgewidth=1.5)


def draw_curve(axes: Axes, curve: Curve, points: Series, label: str) -> list[Line2D]:
    """Draw a line; a single point gets a marker in any case."""
    return axes.plot(
        points.rollouts,
        points.values,
        color=curve.color,
        linestyle=curve.line,
        linewidth=1.8 if curve.marker else 1.3,
        marker=curve.marker or ("." if len(points.values) == 1 else ""),
        markersize=5,
        label=label,
    )


def needs_own_axis(series: Mapping[Curve, Series]) -> bool:
    """Return whether the gold reward and the other curves differ too much in scale to share an axis."""
    gold = series[GOLD].values
    others = [value for curve, points in series.items() if curve is not GOLD for value in points.values]
    together = span([*gold, *others])
    return together > OTHER_SCALE * min(span(gold), span(others))


def span(values: Sequence[float]) -> float:
    """Return the difference between the highest and the lowest value."""
    return max(values, default=0.0) - min(values, default=0.0)


def right_axis(axes: Axes, color: str) -> Axes:
    """Return a second vertical axis on the right, in a color."""
    twin = axes.twinx()
    twin.spines["right"].set(visible=True, color=color)
    twin.tick_params(axis="y", colors=color)
    twin.grid(visible=False)
    return twin
