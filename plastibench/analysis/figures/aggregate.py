"""Figures over several settings: gains, performance profiles, probabilities of improvement, ranks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plastibench.analysis.figures import style
from plastibench.analysis.figures.style import FigureSpec, MethodStyle
from plastibench.analysis.stats.bootstrap import performance_profile, probability_of_improvement
from plastibench.analysis.stats.ranks import RankAnalysis, analyze_ranks, rank
from plastibench.analysis.stats.significance import ALPHA, p_equation
from plastibench.analysis.tables.aggregate import SharedScores, mixed_versions, shared_scores
from plastibench.analysis.tables.table import ResultTable

LIGHT_TEXT, DARK_TEXT = "#fdfdfd", "#111111"
"""Of heat maps, whose colors are the same on light and dark backgrounds."""
COLOR_LIMIT = 1.2
"""Value at the end of the color map: its outermost colors disappear on a dark background."""

Scores = Mapping[str, Sequence[float]]
"""Numbers of each method, one for each setting."""


class HeatMapCell(NamedTuple):
    """A cell of a heat map."""

    text: str
    value: float
    """From -1 to 1; it decides the color."""
    bold: bool = False


Cells = Sequence[Sequence[HeatMapCell | None]]


def aggregate_figures(tables: Sequence[ResultTable], methods: Sequence[str]) -> Iterator[FigureSpec]:
    """Yield the figures over at least two settings; `methods` are those of all tables."""
    if len(tables) < 2:
        return
    styles = style.method_styles(methods)
    if any(row.gain for table in tables for row in table.rows):
        yield FigureSpec(
            "settings-gains",
            "Gain by method and setting",
            "Difference in average accuracy to the baseline in percentage points, averaged over seeds. "
            "Bold: the 95 % interval of that cell excludes 0; it is not corrected for the number of cells. "
            "Empty: no seed in common with the baseline. Settings are numbered as in the report.",
            partial(_draw_gains, tables, methods),
        )
    shared = shared_scores(tables)
    if shared is not None:
        yield FigureSpec(
            "settings-profiles",
            "Performance profiles",
            f"Share of runs whose gain over {shared.baseline} with the same seed exceeds a number of "
            "points; all settings have the same weight. A curve above another one everywhere belongs to "
            f"the better method.{style.gray_note(len(shared.methods))}",
            partial(_draw_profiles, shared, styles),
        )
        yield FigureSpec(
            "settings-improvement",
            "Probability of improvement",
            "Percentage of pairs of runs in which the method of the row is better than that of the column, "
            "ties counted half, averaged over settings. Descriptive only: without intervals and tests.",
            partial(_draw_improvement, shared),
        )
    scores = common_scores(tables)
    if scores:
        analysis = analyze_ranks(scores)
        yield FigureSpec(
            "settings-ranks",
            "Ranks over settings",
            "Rank of each method by its average accuracy, in each setting (markers) and averaged over "
            f"settings (bar), for the methods that all settings have. {_rank_verdict(analysis)}",
            partial(_draw_ranks, rank(scores), analysis, styles),
        )


def missing_figures(tables: Sequence[ResultTable]) -> list[str]:
    """Return why figures over settings are missing, a sentence for each reason."""
    if len(tables) < 2:
        return ["There is only one setting: figures over settings need at least two."]
    mixed = mixed_versions(tables)
    if mixed:
        return [
            f"No performance profiles, probabilities of improvement or ranks: runs with {mixed} are never "
            "averaged."
        ]
    reasons = []
    if shared_scores(tables) is None:
        reasons.append(
            "No performance profiles and no probabilities of improvement: they need settings with the same "
            "baseline, precision and code, another method that all of them have, and a seed that all "
            "methods have."
        )
    if not common_scores(tables):
        reasons.append("No ranks: no method has a finished run in every setting.")
    return reasons


def common_scores(tables: Sequence[ResultTable]) -> dict[str, list[float]]:
    """Return the average accuracies of the methods that have one in every table; none if they are mixed."""
    if mixed_versions(tables):
        return {}
    tested = [{row.method: row.average.mean for row in table.rows if row.seeds} for table in tables]
    methods = sorted(set.intersection(*map(set, tested))) if tested else []
    return {method: [means[method] for means in tested] for method in methods}


def _draw_gains(tables: Sequence[ResultTable], methods: Sequence[str]) -> Figure:
    gains = [{row.method: row.gain for row in table.rows if row.gain} for table in tables]
    limit = max(*(abs(gain.mean) for column in gains for gain in column.values()), 1e-9)
    rows = [method for method in methods if any(method in column for column in gains)]
    cells = [
        [
            HeatMapCell(f"{gain.mean:+.1f}", gain.mean / limit, gain.excludes_zero) if gain else None
            for gain in (column.get(method) for column in gains)
        ]
        for method in rows
    ]
    figure, axes = _draw_heat_map(cells, rows, [str(number) for number in range(1, len(tables) + 1)])
    axes.set_xlabel("setting")
    return figure


def _draw_improvement(shared: SharedScores) -> Figure:
    methods = [shared.baseline, *shared.methods]

    def cell(row: int, column: int) -> HeatMapCell | None:
        if row == column:
            return None
        first, second = ([scores[place] for scores in shared.scores] for place in (row, column))
        probability = probability_of_improvement(first, second)
        return HeatMapCell(f"{100 * probability:.0f}", 2 * probability - 1)

    cells = [[cell(row, column) for column in range(len(methods))] for row in range(len(methods))]
    numbers = [str(number) for number in range(1, len(methods) + 1)]
    rows = [f"{method}  {number}" for method, number in zip(methods, numbers, strict=True)]
    figure, axes = _draw_heat_map(cells, rows, numbers, cell_width=0.3)
    axes.set_xlabel("than method")
    return figure


def _draw_heat_map(
    cells: Cells, rows: Sequence[str], columns: Sequence[str], cell_width: float = 0.5
) -> tuple[Figure, Axes]:
    rows = [style.visible(row) for row in rows]
    width = 0.4 + 0.085 * max(map(len, rows)) + cell_width * len(columns)
    figure, axes = style.new_figure(0.7 + 0.25 * len(rows), max(2.2, width))
    values = np.array([[math.nan if cell is None else cell.value for cell in row] for row in cells])
    # Not an image: it would not scale with the figure.
    colors: dict[str, Any] = {"cmap": "PuOr_r", "vmin": -COLOR_LIMIT, "vmax": COLOR_LIMIT}
    axes.pcolormesh(np.ma.masked_invalid(values), linewidth=0, **colors)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if cell is not None:
                options: dict[str, Any] = {"color": LIGHT_TEXT if abs(cell.value) > 0.7 else DARK_TEXT}
                options |= {"weight": "bold" if cell.bold else "normal", "fontsize": 8.5}
                axes.text(x + 0.5, y + 0.5, cell.text, ha="center", va="center", **options)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.grid(visible=False)
    return figure, axes


def _draw_profiles(shared: SharedScores, styles: Mapping[str, MethodStyle]) -> Figure:
    gains = [scores[1:] - scores[:1] for scores in shared.scores]
    means = dict(zip(shared.methods, np.mean([table.mean(axis=1) for table in gains], axis=0), strict=True))
    looks = style.emphasized(styles, sorted(means, key=lambda method: (-means[method], method)))
    figure, axes = style.legend_figure(looks)
    low, high = min(float(table.min()) for table in gains), max(float(table.max()) for table in gains)
    margin = 0.03 * (high - low) or 0.1
    thresholds = np.linspace(low - margin, high + margin, 101)
    axes.axvline(0, color=style.ink(), linewidth=1)
    for place, (method, look) in enumerate(looks.items()):
        row = shared.methods.index(method)
        share = performance_profile([table[row] for table in gains], thresholds)
        # Markers of different methods are at different thresholds.
        axes.plot(thresholds, share, markevery=(place % 10, 10), linewidth=1.2, **look.line(method))
    axes.set(xlabel=f"points above {shared.baseline}", ylabel="share of runs with more")
    style.add_legend(figure, axes)
    return figure


def _rank_verdict(analysis: RankAnalysis) -> str:
    """Return what Friedman's test shows, or why it shows nothing."""
    if analysis.refusal:
        return f"Descriptive only: {analysis.refusal}."
    if analysis.p >= ALPHA:
        return f"Friedman's test finds no difference between the methods ({p_equation(analysis.p)})."
    return (
        f"Shaded: mean ranks within the critical difference {analysis.critical_difference:.2f} of the best, "
        "which do not differ from it significantly (Nemenyi's test; Friedman's test: "
        f"{p_equation(analysis.p)})."
    )


def _draw_ranks(ranks: Scores, analysis: RankAnalysis, styles: Mapping[str, MethodStyle]) -> Figure:
    means = {method: sum(values) / len(values) for method, values in ranks.items()}
    order = sorted(ranks, key=lambda method: (-means[method], method))
    figure, axes = style.method_figure(order)
    if not analysis.refusal and analysis.p < ALPHA:
        best = min(means.values())
        axes.axvspan(best, best + analysis.critical_difference, color=style.ink(), alpha=0.08, linewidth=0)
    for height, method in enumerate(order):
        method_style, values = styles[method], ranks[method]
        axes.scatter(
            values,
            [height] * len(values),
            color=method_style.color,
            marker=method_style.marker,
            alpha=0.6,
            s=22,
        )
        axes.plot([means[method]] * 2, [height - 0.35, height + 0.35], color=style.ink(), linewidth=2)
    style.use_method_axis(axes, order)
    axes.set(xlabel="rank (1 is best)", xlim=(0.5, len(order) + 0.5))
    return figure
