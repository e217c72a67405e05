"""Pictures of one setting: gains, stages, accuracy against cost, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plastibench.figures import series
from plastibench.figures.look import GRID, INK, Mark, Picture, blank, legend, marks
from plastibench.stats import Estimate
from plastibench.tables import Row, Table

WIDTH = 6.4


def pictures(table: Table, name: str, methods: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures of a table; `methods` are all that share its page, so that colours agree."""
    known = marks(methods)
    rows = [row for row in table.rows if row.seeds]
    gains = [row for row in rows if row.gain is not None and row.gain.n]
    if gains:
        yield Picture(
            f"{name}-gains",
            f"Gain over {table.baseline}",
            f"Points of test accuracy, averaged over stages, above {table.baseline} with the same seed. "
            "Bars: 95 % t-intervals of the mean over seeds, each for itself; none where n = 1.",
            partial(_gains, gains, table.baseline or "", known),
        )
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
        "Test accuracy averaged over stages, against all examples taken forward and backward from the first "
        "stage to the last. Bars: one sample standard deviation. Dashed: the Pareto front of the means; a "
        "place on it is no test.",
        partial(_cost, rows, known),
    )
    names = series.diagnostics(rows)
    if names:
        yield Picture(
            f"{name}-diagnostics",
            "Diagnostics over stages",
            "Means over seeds of what was recorded at each stage beside the test accuracy.",
            partial(_diagnostics, rows, known, names),
        )


def _gains(rows: list[Row], baseline: str, known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 0.9 + 0.28 * len(rows))
    order = sorted(rows, key=lambda row: (row.gain.mean if row.gain else math.nan, row.method))
    axes.axvline(0, color=INK, linewidth=1)
    for height, row in enumerate(order):
        assert row.gain is not None
        mark = known[row.method]
        axes.errorbar(
            row.gain.mean, height, xerr=_half(row.gain), fmt=mark.marker, color=mark.colour, capsize=3
        )
    axes.set_yticks(range(len(order)), [row.method for row in order])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"points above {baseline}")
    return figure


def _half(estimate: Estimate) -> float | None:
    return None if math.isnan(estimate.high) else estimate.high - estimate.mean


def _stages(rows: list[Row], known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 3.6 + 0.2 * math.ceil(len(rows) / 3))
    for row in rows:
        points = series.over_stages(row, "test_accuracy", 100)
        _curve(axes, row.method, known[row.method], points)
        _band(axes, known[row.method], points)
    axes.set_xlabel("stage")
    axes.set_ylabel("test accuracy, %")
    legend(figure, axes, len(rows))
    return figure


def _curve(axes: Axes, label: str, mark: Mark, points: list[tuple[int, Estimate]], marked: int = 10) -> None:
    x = [stage + 1 for stage, _ in points]
    y = [estimate.mean for _, estimate in points]
    every = max(1, len(x) // marked)
    axes.plot(
        x,
        y,
        color=mark.colour,
        linestyle=mark.dash,
        marker=mark.marker,
        markevery=every,
        label=_escaped(label),
        linewidth=1.4,
    )


def _band(axes: Axes, mark: Mark, points: list[tuple[int, Estimate]]) -> None:
    x, y = [stage + 1 for stage, _ in points], [estimate.mean for _, estimate in points]
    spread = [0.0 if math.isnan(estimate.sd) else estimate.sd for _, estimate in points]
    low, high = zip(*((c - s, c + s) for c, s in zip(y, spread, strict=True)), strict=True)
    axes.fill_between(x, low, high, color=mark.colour, alpha=0.13, linewidth=0)


def _cost(rows: list[Row], known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 3.6 + 0.2 * math.ceil(len(rows) / 3))
    points = [(series.passes(row), row.average.mean) for row in rows]
    front = series.pareto(points)
    axes.plot(*zip(*front, strict=True), color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    for row, (x, y) in zip(rows, points, strict=True):
        mark = known[row.method]
        spread = None if math.isnan(row.average.sd) else row.average.sd
        axes.errorbar(
            x,
            y,
            yerr=spread,
            fmt=mark.marker,
            color=mark.colour,
            markersize=7,
            elinewidth=0.9,
            label=_escaped(row.method),
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("examples taken forward and backward, whole run")
    axes.set_ylabel("mean of stages, %")
    legend(figure, axes, len(rows))
    return figure


def _diagnostics(rows: list[Row], known: dict[str, Mark], names: Sequence[str]) -> Figure:
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, 1.9 * lines + 0.2 * math.ceil(len(rows) / 3) + 0.3), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for name, axes in zip(names, grid.flat, strict=False):
        for row in rows:
            points = series.over_stages(row, name)
            if points:
                _curve(axes, row.method, known[row.method], points, 4)
        axes.set_title(name.replace("_", " "))
        axes.grid(color=GRID)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    legend(figure, grid.flat[0], len(rows))
    return figure


def _escaped(label: str) -> str:
    """Return a label that is shown: matplotlib hides one with a leading underscore."""
    return f"\u200b{label}" if label.startswith("_") else label
