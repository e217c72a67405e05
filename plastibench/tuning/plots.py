"""Pictures of a tuning, methods side by side: how it went, what mattered, slices, what a budget gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.tuning.summary import StudySummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (4.0, 3.0)
"""Width and height of a panel in inches."""
FORM = "svg"
MARK, LINE = "#8fb3d9", "#1f5fa8"


def save_plots(found: Sequence[StudySummary], folder: Path, name: str) -> list[Path]:
    """Write the pictures of a tuning; return where they are."""
    slices = [(one, setting) for one in found for setting in one.slices]
    pictures: dict[str, list[Callable[[Axes], None]]] = {
        "history": [lambda axes, one=one: _history(axes, one) for one in found],  # type: ignore[misc]
        "importance": [lambda axes, one=one: _importance(axes, one) for one in found if one.importance],  # type: ignore[misc]
        "slices": [lambda axes, one=one, what=what: _slice(axes, one, what) for one, what in slices],  # type: ignore[misc]
        "expected": [lambda axes: _expected(axes, found)],
    }
    return [
        _save(panels, folder / f"{name}-{kind}.{FORM}", equal=kind == "history")
        for kind, panels in pictures.items()
        if panels
    ]


def _save(panels: Sequence[Callable[[Axes], None]], path: Path, *, equal: bool) -> Path:
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=equal).flat
    for panel, place in zip(panels, axes, strict=False):
        place.grid(alpha=0.3)
        place.spines[["top", "right"]].set_visible(False)
        panel(place)
    for place in list(axes)[len(panels) :]:
        place.set_visible(False)
    figure.savefig(path)
    return path


def _history(axes: Axes, one: StudySummary) -> None:
    """Value of each trial, and the best so far."""
    numbers, values, tops = zip(*one.history, strict=True) if one.history else ((), (), ())
    axes.scatter(numbers, values, s=14, color=MARK)
    axes.step(numbers, tops, where="post", color=LINE)
    if one.published is not None:
        axes.axhline(one.published, color="#666666", linewidth=0.8, linestyle=":")
    _label(axes, one.method, ("trial", one.objective))


def _importance(axes: Axes, one: StudySummary) -> None:
    names = list(one.importance)[::-1]
    axes.barh([_short(name) for name in names], [one.importance[name] for name in names], color=LINE)
    axes.set_xlim(0, 1)
    _label(axes, one.method, ("share of the differences", ""))


def _slice(axes: Axes, one: StudySummary, what: str) -> None:
    points = one.slices[what]
    axes.scatter([x for x, _ in points], [y for _, y in points], s=14, color=LINE)
    if what in one.logs:
        axes.set_xscale("log")
    _label(axes, one.method, (_short(what), one.objective))


def _expected(axes: Axes, found: Sequence[StudySummary]) -> None:
    """Expected best value against budget, one standard deviation around it."""
    for one in found:
        passes = [point.passes for point in one.expected]
        means = [point.mean for point in one.expected]
        (line,) = axes.plot(passes, means, label=one.method, marker=".")
        low = [point.mean - point.sd for point in one.expected]
        high = [point.mean + point.sd for point in one.expected]
        axes.fill_between(passes, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.legend(frameon=False)
    _label(axes, "expected best", ("budget, passes", found[0].objective))


def _label(axes: Axes, title: str, names: tuple[str, str]) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_xlabel(names[0], fontsize="small")
    axes.set_ylabel("\n".join(names[1].split(", ")), fontsize="small")
    axes.tick_params(labelsize="small")


def _short(name: str) -> str:
    return name.rpartition(".")[2]
