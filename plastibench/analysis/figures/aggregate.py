"""Pictures over several settings: heat maps of gains and of who beats whom, profiles, and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plastibench.analysis.figures.series import labelled
from plastibench.analysis.figures.style import WIDTH, Mark, Picture, blank, ink, legend, marks, room
from plastibench.analysis.stats.profiles import performance_profile, probability_of_improvement
from plastibench.analysis.stats.ranks import RankAnalysis, analyze_ranks
from plastibench.analysis.stats.significance import ALPHA, format_p
from plastibench.analysis.tables.aggregate import SharedScores, shared_scores
from plastibench.analysis.tables.table import ResultTable

Cells = Sequence[Sequence[tuple[str, float, bool] | None]]
"""Rows of (text, place on the scale of colors from -1 to 1, in bold)."""
LIGHT, DARK = "#fdfdfd", "#111111"
"""Of texts in cells: a cell looks the same by day and by night."""
SCALE = 1.2
"""Of the colors: the outermost are too dark to be told from a dark page."""


def pictures(found: Sequence[ResultTable], methods: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures that need two settings or more; `methods` are all that share their page."""
    if len(found) < 2:
        return
    if any(row.gain for table in found for row in table.rows):
        yield Picture(
            "settings-gains",
            "Gains, method by setting",
            "Points above the baseline, averaged over stages and seeds. In bold where the 95 % interval of "
            "that cell alone is free of 0. Empty: no pair of runs. Settings by their number in the report.",
            partial(_gains, found, methods),
        )
    joined = shared_scores(found)
    if joined is not None:
        yield from _of_runs(joined, marks(methods))
    places_ = places(found)
    if places_:
        test = _test(found)
        yield Picture(
            "settings-ranks",
            "Ranks over settings",
            "Place of each method by its mean accuracy over stages, in each setting (marks) and averaged "
            f"(bar); methods that are missing in a setting are left out. {_verdict(test)}",
            partial(_ranks, places_, test, marks(methods)),
        )


def _of_runs(joined: SharedScores, known: dict[str, Mark]) -> Iterator[Picture]:
    """Yield the pictures of Agarwal et al. 2021 (arXiv 2108.13264) that need every run."""
    yield Picture(
        "settings-profiles",
        "Performance profiles",
        f"Share of runs that gain more than so many points over {joined.baseline} with the same seed; every "
        "setting weighs the same. A curve that lies above another everywhere belongs to the better method.",
        partial(_profiles, joined, known),
    )
    yield Picture(
        "settings-improvement",
        "Who beats whom",
        "Percent of pairs of runs in which the method of the row is better than that of the column, a tie "
        "counted as half, averaged over settings. It has no interval: it describes these runs.",
        partial(_improvement, joined),
    )


def missing(found: Sequence[ResultTable]) -> list[str]:
    """Return why pictures over settings are not there, a sentence for each reason."""
    if len(found) < 2:
        return ["There is one setting: profiles, ranks and probabilities over settings need two or more."]
    reasons = []
    if shared_scores(found) is None:
        reasons.append(
            "No profiles and no probabilities over settings: they need the same baseline in every setting, "
            "another method that all of them have, and a seed that both finished."
        )
    if not places(found):
        reasons.append("No ranks over settings: no method has a finished run in every one.")
    return reasons


def _gains(found: Sequence[ResultTable], methods: Sequence[str]) -> Figure:
    gains = [{row.method: row.gain for row in table.rows if row.gain} for table in found]
    shown = [method for method in methods if any(method in column for column in gains)]
    limit = max(*(abs(gain.mean) for column in gains for gain in column.values()), 1e-9)
    cells = [
        [
            (f"{gain.mean:+.1f}", gain.mean / limit, gain.low > 0 or gain.high < 0) if gain else None
            for gain in (column.get(method) for column in gains)
        ]
        for method in shown
    ]
    figure, axes = _heat_map(cells, shown, [str(number) for number in range(1, len(found) + 1)])
    axes.set_xlabel("setting")
    return figure


def _improvement(joined: SharedScores) -> Figure:
    names = [joined.baseline, *joined.methods]
    cells: list[list[tuple[str, float, bool] | None]] = [[None] * len(names) for _ in names]
    for y in range(len(names)):
        for x in range(len(names)):
            if x != y:
                ours, theirs = ([table[place] for table in joined.scores] for place in (y, x))
                share = probability_of_improvement(ours, theirs)
                cells[y][x] = (f"{100 * share:.0f}", 2 * share - 1, False)
    numbers = [str(number) for number in range(1, len(names) + 1)]
    rows = [f"{name}  {number}" for name, number in zip(names, numbers, strict=True)]
    figure, axes = _heat_map(cells, rows, numbers, cell=0.3)
    axes.set_xlabel("than method")
    return figure


def _heat_map(
    cells: Cells, rows: Sequence[str], columns: Sequence[str], cell: float = 0.5
) -> tuple[Figure, Axes]:
    """Draw cells with their texts; not an image, which would not scale inside the picture."""
    longest = max(map(len, rows))
    figure, axes = blank(max(2.2, 0.4 + 0.085 * longest + cell * len(columns)), 0.7 + 0.25 * len(rows))
    values = np.array([[math.nan if one is None else one[1] for one in row] for row in cells])
    axes.pcolormesh(np.ma.masked_invalid(values), cmap="PuOr_r", vmin=-SCALE, vmax=SCALE, linewidth=0)
    for y, row in enumerate(cells):
        for x, one in enumerate(row):
            if one is not None:
                text, value, bold = one
                look: dict[str, Any] = {
                    "color": LIGHT if abs(value) > 0.7 else DARK,
                    "weight": "bold" if bold else "normal",
                }
                axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8.5, **look)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.grid(visible=False)
    return figure, axes


def _profiles(joined: SharedScores, known: dict[str, Mark]) -> Figure:
    figure, axes = blank(WIDTH, 3.0 + room(joined.methods))
    gains = [table[1:] - table[:1] for table in joined.scores]
    low, high = min(float(gain.min()) for gain in gains), max(float(gain.max()) for gain in gains)
    margin = 0.03 * (high - low) or 0.1
    thresholds = np.linspace(low - margin, high + margin, 101)
    axes.axvline(0, color=ink(), linewidth=1)
    for place, method in enumerate(joined.methods):
        share = performance_profile([gain[place] for gain in gains], thresholds)
        mark = known[method]
        look: dict[str, Any] = {"color": mark.color, "linestyle": mark.dash, "marker": mark.marker}
        axes.plot(
            thresholds, share, label=labelled(method), markevery=(place % 10, 10), linewidth=1.2, **look
        )
    axes.set_xlabel(f"points above {joined.baseline}")
    axes.set_ylabel("share of runs with more")
    legend(figure, axes)
    return figure


def common(found: Sequence[ResultTable]) -> list[str]:
    """Return the methods that have a mean in every table."""
    each = [{row.method for row in table.rows if row.seeds} for table in found]
    return sorted(set.intersection(*each)) if each else []


def _means(found: Sequence[ResultTable]) -> dict[str, list[float]]:
    means = [{row.method: row.average.mean for row in table.rows} for table in found]
    return {method: [table[method] for table in means] for method in common(found)}


def places(found: Sequence[ResultTable]) -> dict[str, list[float]]:
    """Return the rank of each common method in each table, 1 the best, ties shared."""
    from scipy.stats import rankdata

    means = _means(found)
    if not means:
        return {}
    placed = rankdata(-np.array(list(means.values())), axis=0)
    return dict(zip(means, placed.tolist(), strict=True))


def _test(found: Sequence[ResultTable]) -> RankAnalysis:
    return analyze_ranks(_means(found))


def _verdict(test: RankAnalysis) -> str:
    """Return what Friedman's test says of the ranks, or why it says nothing."""
    if test.refusal:
        return f"Descriptive: {test.refusal}."
    p = f"p {format_p(test.p)}"
    if test.p >= ALPHA:
        return f"Friedman's test finds no difference between the methods ({p})."
    return (
        f"Shaded: within the critical difference {test.critical_difference:.2f} of the best mean rank, "
        f"and so not separated from it (Nemenyi; Friedman {p})."
    )


def _ranks(ranked: dict[str, list[float]], test: RankAnalysis, known: dict[str, Mark]) -> Figure:
    averages = {method: sum(own) / len(own) for method, own in ranked.items()}
    order = sorted(ranked, key=lambda method: (-averages[method], method))
    figure, axes = blank(WIDTH, 0.8 + 0.25 * len(order))
    if not test.refusal and test.p < ALPHA:
        best = min(averages.values())
        axes.axvspan(best, best + test.critical_difference, color=ink(), alpha=0.08, linewidth=0)
    for height, method in enumerate(order):
        mark, own = known[method], ranked[method]
        axes.scatter(own, [height] * len(own), color=mark.color, marker=mark.marker, alpha=0.6, s=22)
        axes.plot([averages[method]] * 2, [height - 0.35, height + 0.35], color=ink(), linewidth=2)
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0.5, len(order) + 0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rank (1 is best)")
    return figure
