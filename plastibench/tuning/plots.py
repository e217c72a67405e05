"""Figures of a tuning, methods side by side: history, importance, slices, and what a budget gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.tuning.summary import StudySummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Panel = Callable[[Axes], None]

PANEL_INCHES = (4.0, 3.0)
POINT_COLOR, LINE_COLOR = "#8fb3d9", "#1f5fa8"


def save_plots(summaries: Sequence[StudySummary], folder: Path, tuning: str) -> list[Path]:
    """Write the figures of a tuning; return their paths."""
    figures: dict[str, list[Panel]] = {
        "history": [partial(_history, summary=summary) for summary in summaries],
        "importance": [partial(_importance, summary=summary) for summary in summaries if summary.importance],
        "slices": [
            partial(_slice, summary=summary, setting=name) for summary in summaries for name in summary.slices
        ],
        "expected": [partial(_expected, summaries=summaries)],
    }
    paths = {name: folder / f"{tuning}-{name}.svg" for name, panels in figures.items() if panels}
    for name, path in paths.items():
        _save(figures[name], path, share_y=name == "history")
    return list(paths.values())


def _save(panels: Sequence[Panel], path: Path, *, share_y: bool) -> None:
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for panel, panel_axes in zip(panels, axes, strict=False):
        panel_axes.grid(alpha=0.3)
        panel_axes.spines[["top", "right"]].set_visible(False)
        panel(panel_axes)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    figure.savefig(path)


def _history(axes: Axes, summary: StudySummary) -> None:
    """Plot the value of each trial and the best so far."""
    numbers, values, best = zip(*summary.history, strict=True) if summary.history else ((), (), ())
    axes.scatter(numbers, values, s=14, color=POINT_COLOR)
    axes.step(numbers, best, where="post", color=LINE_COLOR)
    if summary.published is not None:
        axes.axhline(summary.published, color="#666666", linewidth=0.8, linestyle=":")
    _label(axes, summary.method, "trial", summary.objective)


def _importance(axes: Axes, summary: StudySummary) -> None:
    settings = list(summary.importance)[::-1]
    shares = [summary.importance[name] for name in settings]
    axes.barh([_short_name(name) for name in settings], shares, color=LINE_COLOR)
    axes.set_xlim(0, 1)
    _label(axes, summary.method, "share of the variance", "")


def _slice(axes: Axes, summary: StudySummary, setting: str) -> None:
    points = summary.slices[setting]
    axes.scatter([x for x, _ in points], [y for _, y in points], s=14, color=LINE_COLOR)
    if setting in summary.log_settings:
        axes.set_xscale("log")
    _label(axes, summary.method, _short_name(setting), summary.objective)


def _expected(axes: Axes, summaries: Sequence[StudySummary]) -> None:
    """Plot the expected best value against the budget, with one standard deviation around it."""
    for summary in summaries:
        passes = [point.passes for point in summary.expected]
        (line,) = axes.plot(
            passes, [point.mean for point in summary.expected], label=summary.method, marker="."
        )
        low = [point.mean - point.std for point in summary.expected]
        high = [point.mean + point.std for point in summary.expected]
        axes.fill_between(passes, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.legend(frameon=False)
    _label(axes, "expected best", "budget, passes", summaries[0].objective)


def _label(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_xlabel(x_label, fontsize="small")
    axes.set_ylabel("\n".join(y_label.split(", ")), fontsize="small")
    axes.tick_params(labelsize="small")


def _short_name(setting: str) -> str:
    return setting.rpartition(".")[2]
