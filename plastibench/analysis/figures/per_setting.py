"""Pictures of one setting: gains, stages, accuracy against cost, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from plastibench.analysis.figures import series
from plastibench.analysis.figures.style import WIDTH, Mark, Picture, blank, by_stage, ink, legend, marks, room
from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.stats.significance import ALPHA
from plastibench.analysis.tables.accuracy_curve import accuracy_curve
from plastibench.analysis.tables.table import ResultRow, ResultTable

PASSES = "examples taken forward and backward"


def pictures(table: ResultTable, name: str, methods: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures of a table; `methods` are all that share its page, so that colors agree."""
    known = marks(methods)
    rows = [row for row in table.rows if row.seeds]
    for reference, suffix in zip(dict.fromkeys(table.references), ("gains", "over"), strict=False):
        gains = [row for row in rows if reference in row.gains]
        if gains:
            yield _gain_picture(f"{name}-{suffix}", gains, reference, known)
    if not rows:
        return
    yield Picture(
        f"{name}-stages",
        "Test accuracy over stages",
        "Lines: mean over seeds. Bands: one sample standard deviation to either side; none where n = 1.",
        partial(_stages, rows, known),
    )
    yield Picture(
        f"{name}-cost",
        "Accuracy against cost",
        "Test accuracy averaged over stages, against the cost of the whole run. Bars: one sample standard "
        "deviation. Dashed: the Pareto front of the means; a place on it is no test.",
        partial(_cost, rows, known),
    )
    yield Picture(
        f"{name}-spent",
        "Accuracy as cost adds up",
        "Test accuracy after each stage, against the cost up to there: means over seeds. Dashed: the Pareto "
        "front, the best accuracy that any method reached for as much or less.",
        partial(_spent, rows, known),
    )
    names = series.diagnostics(rows)
    if names:
        yield Picture(
            f"{name}-diagnostics",
            "Diagnostics over stages",
            "Means over seeds of what was recorded at each stage beside the test accuracy.",
            partial(_diagnostics, rows, known, names),
        )


def _gain_picture(name: str, rows: list[ResultRow], reference: str, known: dict[str, Mark]) -> Picture:
    return Picture(
        name,
        f"Gain over {reference}",
        f"Points of test accuracy, averaged over stages, above {reference} with the same seed. "
        "Bars: 95 % intervals of the mean over seeds, each for itself; none where n = 1. "
        f"Filled: p < {ALPHA} by the exact sign-flip test, corrected (Holm).",
        partial(_gains, rows, reference, known),
    )


def _gains(rows: list[ResultRow], reference: str, known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 0.8 + 0.25 * len(rows))
    order = sorted(rows, key=lambda row: (row.gains[reference].estimate.mean, row.method))
    axes.axvline(0, color=ink(), linewidth=1)
    for height, row in enumerate(order):
        mark, gain = known[row.method], row.gains[reference]
        face = mark.color if gain.p < ALPHA else rcParams["figure.facecolor"]
        look: dict[str, Any] = {
            "fmt": mark.marker,
            "color": mark.color,
            "markerfacecolor": face,
            "capsize": 3,
        }
        axes.errorbar(gain.estimate.mean, height, xerr=_half(gain.estimate), markersize=6, **look)
    axes.set_yticks(range(len(order)), [row.method for row in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"points above {reference}")
    return figure


def _half(estimate: Estimate) -> float | None:
    return None if math.isnan(estimate.high) else estimate.high - estimate.mean


def _stages(rows: list[ResultRow], known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 3.0 + room([row.method for row in rows]))
    for row in rows:
        points = series.over_stages(row, "test_accuracy", 100)
        _curve(axes, row.method, known[row.method], points)
        _band(axes, known[row.method], points)
    by_stage(axes)
    axes.set_xlabel("stage")
    axes.set_ylabel("test accuracy, %")
    legend(figure, axes)
    return figure


def _curve(axes: Axes, label: str, mark: Mark, points: list[tuple[int, Estimate]], marked: int = 10) -> None:
    x = [stage + 1 for stage, _ in points]
    y = [estimate.mean for _, estimate in points]
    every = max(1, len(x) // marked)
    axes.plot(
        x,
        y,
        color=mark.color,
        linestyle=mark.dash,
        marker=mark.marker,
        markevery=every,
        label=series.labelled(label),
        linewidth=1.4,
    )


def _band(axes: Axes, mark: Mark, points: list[tuple[int, Estimate]]) -> None:
    x, y = [stage + 1 for stage, _ in points], [estimate.mean for _, estimate in points]
    spread = [0.0 if math.isnan(estimate.sd) else estimate.sd for _, estimate in points]
    low, high = zip(*((c - s, c + s) for c, s in zip(y, spread, strict=True)), strict=True)
    axes.fill_between(x, low, high, color=mark.color, alpha=0.13, linewidth=0)


def _cost(rows: list[ResultRow], known: dict[str, Mark]) -> Figure:
    figure, axes = _against_cost(rows)
    points = [(series.passes(row), row.average.mean) for row in rows]
    axes.plot(*zip(*series.pareto(points), strict=True), **_front())
    for row, (x, y) in zip(rows, points, strict=True):
        mark = known[row.method]
        spread = None if math.isnan(row.average.sd) else row.average.sd
        look: dict[str, Any] = {"fmt": mark.marker, "color": mark.color, "markersize": 7, "elinewidth": 0.9}
        axes.errorbar(x, y, yerr=spread, label=series.labelled(row.method), **look)
    axes.set_xlabel(f"{PASSES}, whole run")
    axes.set_ylabel("mean of stages, %")
    legend(figure, axes)
    return figure


def _spent(rows: list[ResultRow], known: dict[str, Mark]) -> Figure:
    figure, axes = _against_cost(rows)
    paths = [accuracy_curve(row.metrics) for row in rows]
    front = series.pareto([point for path in paths for point in path])
    axes.plot(*zip(*front, strict=True), drawstyle="steps-post", **_front())
    for row, path in zip(rows, paths, strict=True):
        mark = known[row.method]
        look: dict[str, Any] = {"color": mark.color, "linestyle": mark.dash, "marker": mark.marker}
        axes.plot(
            *zip(*path, strict=True), label=series.labelled(row.method), linewidth=1.2, markersize=4, **look
        )
    axes.set_xlabel(f"{PASSES} so far")
    axes.set_ylabel("test accuracy, %")
    legend(figure, axes)
    return figure


def _against_cost(rows: list[ResultRow]) -> tuple[Figure, Axes]:
    figure, axes = blank(WIDTH, 3.0 + room([row.method for row in rows]))
    axes.set_xlim(0, 1.06 * max(1.0, *map(series.passes, rows)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure, axes


def _front() -> dict[str, Any]:
    return {"color": ink(), "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 1}


def _diagnostics(rows: list[ResultRow], known: dict[str, Mark], names: Sequence[str]) -> Figure:
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(
        figsize=(WIDTH, 1.6 * lines + room([row.method for row in rows]) + 0.2), layout="constrained"
    )
    grid = figure.subplots(lines, columns, squeeze=False)
    for name, axes in zip(names, grid.flat, strict=False):
        for row in rows:
            points = series.over_stages(row, name)
            if points:
                _curve(axes, row.method, known[row.method], points, 4)
        axes.set_title(name.replace("_", " "))
        axes.tick_params(labelsize=8)
        by_stage(axes)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    legend(figure, grid.flat[0])
    return figure
