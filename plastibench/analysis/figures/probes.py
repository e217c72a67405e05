"""The figure of what probes measured: one panel for each measurement, over the stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plastibench.analysis.figures import style
from plastibench.analysis.figures.style import FigureSpec, MethodStyle
from plastibench.analysis.stats.estimate import estimate_mean
from plastibench.analysis.tables.table import ResultRow
from plastibench.plugins.probe import MOMENT, moment_order
from plastibench.store.record import Record

COLUMNS = 2
PANEL_HEIGHT = 1.75
"""Inches."""


@dataclass(frozen=True)
class Panel:
    """One measurement of a probe."""

    probe: str
    measurement: str
    unit: str
    columns: tuple[str, ...]
    """In the row of a stage, one for each moment in their order."""


def probe_figure(
    rows: Sequence[ResultRow], name: str, styles: Mapping[str, MethodStyle]
) -> FigureSpec | None:
    """Return the figure of the measurements of probes in the rows of a table, or None without probes."""
    found = panels(record for row in rows for record in row.records)
    if not found:
        return None
    return FigureSpec(
        f"{name}-probes",
        "Probes over stages",
        "What probes measured, averaged over seeds; gaps where there was nothing to measure. A point at the "
        "number of a stage was measured at its end, or at the only moment of the probe. Several moments of a "
        "stage lie between the stage before and its number, in their order. Single layers are left out.",
        partial(_draw, rows, styles, found),
    )


def panels(records: Iterable[Record]) -> list[Panel]:
    """Return the panels of all measurements that runs have, by the names of probe and measurement."""
    grouped: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        for column, unit in record.units.items():
            probe, _, rest = column.partition(".")
            measurement, _, moment = rest.rpartition(".")
            key = (probe, measurement if MOMENT.fullmatch(moment) else rest)
            grouped.setdefault(key, {})[column] = unit
    return [
        Panel(probe, measurement, next(iter(units.values())), tuple(sorted(units, key=_time)))
        for (probe, measurement), units in sorted(grouped.items())
    ]


def _time(column: str) -> tuple[int, int]:
    """Return a key that sorts the columns of a measurement; the record keeps them by their names."""
    moment = column.rpartition(".")[2]
    return moment_order(moment) if MOMENT.fullmatch(moment) else (0, 0)


def points(row: ResultRow, panel: Panel) -> list[tuple[float, float]]:
    """Return (place on the axis of stages, mean over seeds); NaN for what was not measured."""
    by_place: dict[float, list[float]] = {}
    for record in row.records:
        for stage in record.stages if record.status == "done" else ():
            for number, column in enumerate(panel.columns, 1):
                value = stage.get(column)
                place = stage["index"] + number / len(panel.columns)
                by_place.setdefault(place, []).append(math.nan if value is None else value)
    means = {place: [v for v in values if math.isfinite(v)] for place, values in by_place.items()}
    return [
        (place, estimate_mean(means[place]).mean if means[place] else math.nan) for place in sorted(means)
    ]


def _draw(rows: Sequence[ResultRow], styles: Mapping[str, MethodStyle], found: Sequence[Panel]) -> Figure:
    columns = min(COLUMNS, len(found))
    lines = math.ceil(len(found) / columns)
    height = PANEL_HEIGHT * lines + style.legend_height(styles) + 0.2
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, axes in zip(found, grid, strict=False):
        _draw_panel(axes, rows, styles, panel)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    style.add_legend(figure, grid[0])
    return figure


def _draw_panel(
    axes: Axes, rows: Sequence[ResultRow], styles: Mapping[str, MethodStyle], panel: Panel
) -> None:
    for row in rows:
        x, y = zip(*points(row, panel), strict=True)
        line = styles[row.method].line(row.method)
        axes.plot(x, y, markevery=max(1, len(x) // 6), linewidth=1.2, markersize=3.5, **line)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_title(f"{panel.probe}\n{panel.measurement}".replace("_", " "), fontsize=8)
    axes.set_xlabel("stage", fontsize=7)
    axes.set_ylabel(fill(panel.unit or "no unit", 22), fontsize=7)
    axes.tick_params(labelsize=7)
