"""Pictures over several settings: a heat map of gains, and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from plastibench.figures.look import GRID, INK, Picture, blank, marks
from plastibench.tables import Table


def pictures(found: Sequence[Table], methods: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures that need two settings or more."""
    if len(found) < 2:
        return
    if any(row.gain for table in found for row in table.rows):
        yield Picture(
            "settings-gains",
            "Gains, method by setting",
            "Points above the baseline, averaged over stages and seeds. In bold where the 95 % t-interval of "
            "that cell alone is free of 0. Empty: no pair of runs.",
            partial(_heat_map, found, methods),
        )
    yield Picture(
        "settings-ranks",
        "Ranks over settings",
        "Place of each method by its mean accuracy over stages, in each setting (dots) and averaged (bar); "
        "methods that are missing in a setting are left out. Descriptive: dots that differ are no test.",
        partial(_ranks, found),
    )


def _heat_map(found: Sequence[Table], methods: Sequence[str]) -> Figure:
    gains = [{row.method: row.gain for row in table.rows if row.gain} for table in found]
    shown = [method for method in methods if any(method in column for column in gains)]
    cells = np.full((len(shown), len(found)), math.nan)
    for x, column in enumerate(gains):
        for y, method in enumerate(shown):
            if method in column:
                cells[y, x] = column[method].mean
    figure, axes = blank(1.9 + 0.75 * len(found), 0.9 + 0.26 * len(shown))
    limit = max(float(np.nanmax(np.abs(cells))), 1e-9)
    # Not imshow: a picture inside the picture would not scale.
    axes.pcolormesh(np.ma.masked_invalid(cells), cmap="PuOr_r", vmin=-limit, vmax=limit, linewidth=0)
    for y, method in enumerate(shown):
        for x, column in enumerate(gains):
            if method in column:
                gain = column[method]
                sure = gain.low > 0 or gain.high < 0
                colour = "#ffffff" if abs(gain.mean) > 0.62 * limit else "#111111"
                weight = "bold" if sure else "normal"
                where: dict[str, Any] = {"x": x + 0.5, "y": y + 0.5, "ha": "center", "va": "center"}
                axes.text(s=f"{gain.mean:+.1f}", color=colour, weight=weight, fontsize=8, **where)
    axes.set_xticks(np.arange(len(found)) + 0.5, [str(number) for number in range(1, len(found) + 1)])
    axes.set_yticks(np.arange(len(shown)) + 0.5, shown)
    axes.invert_yaxis()
    axes.set_xlabel("setting, by its number on this page")
    axes.grid(visible=False)
    return figure


def common(found: Sequence[Table]) -> list[str]:
    """Return the methods that have a mean in every table."""
    each = [{row.method for row in table.rows if row.seeds} for table in found]
    return sorted(set.intersection(*each)) if each else []


def places(found: Sequence[Table]) -> dict[str, list[float]]:
    """Return the rank of each common method in each table, 1 the best, ties shared."""
    from scipy.stats import rankdata

    methods = common(found)
    ranks: dict[str, list[float]] = {method: [] for method in methods}
    for table in found:
        means = {row.method: row.average.mean for row in table.rows}
        for method, rank in zip(methods, rankdata([-means[method] for method in methods]), strict=True):
            ranks[method].append(float(rank))
    return ranks


def _ranks(found: Sequence[Table]) -> Figure:
    ranks = places(found)
    order = sorted(ranks, key=lambda method: (-sum(ranks[method]), method))
    known = marks([row.method for table in found for row in table.rows])
    figure, axes = blank(6.4, 0.9 + 0.26 * max(1, len(order)))
    for height, method in enumerate(order):
        mark, own = known[method], ranks[method]
        axes.scatter(own, [height] * len(own), color=mark.colour, marker=mark.marker, alpha=0.55, s=24)
        axes.plot([sum(own) / len(own)] * 2, [height - 0.35, height + 0.35], color=INK, linewidth=2)
    axes.set_yticks(range(len(order)), order)
    axes.grid(color=GRID)
    axes.set_xlabel("rank (1 is best)")
    return figure
