"""Figures of one setting: gains, accuracy over stages and against cost, and other measurements."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from plastibench.analysis.figures import style
from plastibench.analysis.figures.probes import probe_figure
from plastibench.analysis.figures.style import FigureSpec, MethodStyle
from plastibench.analysis.stats.estimate import Estimate, estimate_mean
from plastibench.analysis.stats.significance import ALPHA
from plastibench.analysis.tables.accuracy_curve import accuracy_curve
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.training.cost import COST_COLUMNS, PROBE_COSTS

Styles = Mapping[str, MethodStyle]
Rows = Sequence[ResultRow]
NOT_DIAGNOSTICS = {"index", "num_train", "num_new", "num_test", "test_accuracy", "test_correct"}
NOT_DIAGNOSTICS |= {*COST_COLUMNS, *PROBE_COSTS}
"""Numbers of a stage that have figures or columns of their own."""
MAX_DIAGNOSTICS = 8


def setting_figures(table: ResultTable, name: str, methods: Sequence[str]) -> Iterator[FigureSpec]:
    """Yield the figures of a table; `methods` are those of all tables, so that their styles agree."""
    styles = style.method_styles(methods)
    rows = [row for row in table.rows if row.seeds]
    for reference, suffix in zip(table.references, ("gains", "over"), strict=False):
        paired = [row for row in rows if reference in row.gains]
        if paired:
            yield FigureSpec(
                f"{name}-{suffix}",
                f"Gain over {reference}",
                f"Difference in average accuracy to {reference} in percentage points, paired by seed. Bars: "
                "95 % intervals, not corrected for multiple comparisons; none if n = 1. Filled: p < "
                f"{ALPHA} by the exact sign-flip test, Holm-corrected.",
                partial(_draw_gains, paired, reference, styles),
            )
    if not rows:
        return
    gray = style.gray_note(len(rows))
    styles = style.emphasized(styles, _by_interest(table, rows))
    rows = sorted(rows, key=lambda row: list(styles).index(row.method))
    yield FigureSpec(
        f"{name}-stages",
        "Test accuracy over stages",
        "Lines: mean over seeds. Bands: one sample standard deviation above and below; none if n = 1 or "
        f"with more than {style.MANY} methods.{gray}",
        partial(_draw_stages, rows, styles),
    )
    yield FigureSpec(
        f"{name}-cost",
        "Accuracy against cost",
        "Test accuracy averaged over stages, against the passes of the whole run (examples taken forward "
        "and backward). Bars: one sample standard deviation above and below. Dashed: the Pareto front of "
        f"the means, which no test supports.{gray}",
        partial(_draw_cost, rows, styles),
    )
    yield FigureSpec(
        f"{name}-spent",
        "Accuracy against cost so far",
        "Test accuracy after each stage, against the passes up to there, averaged over seeds. Dashed: the "
        f"Pareto front, the best accuracy that any method reached with at most as many passes.{gray}",
        partial(_draw_spent, rows, styles),
    )
    probes = probe_figure(rows, name, styles)
    if probes is not None:
        yield probes
    names = diagnostics(rows)
    if names:
        yield FigureSpec(
            f"{name}-diagnostics",
            "Diagnostics over stages",
            f"What else was measured at each stage, averaged over seeds.{gray}",
            partial(_draw_diagnostics, rows, styles, names),
        )


def _by_interest(table: ResultTable, rows: Rows) -> list[str]:
    """Return the methods: references, those on the Pareto front, the others by their average accuracy."""
    front = pareto_front([(total_passes(row), row.average.mean) for row in rows])

    def place(row: ResultRow) -> tuple[bool, bool, float, str]:
        on_front = (total_passes(row), row.average.mean) in front
        return row.method not in table.references, not on_front, -row.average.mean, row.method

    return [row.method for row in sorted(rows, key=place)]


def _draw_gains(rows: Rows, reference: str, styles: Styles) -> Figure:
    figure, axes = style.method_figure([row.method for row in rows])
    order = sorted(rows, key=lambda row: (row.gains[reference].estimate.mean, row.method))
    axes.axvline(0, color=style.ink(), linewidth=1)
    for height, row in enumerate(order):
        method_style, gain = styles[row.method], row.gains[reference]
        half = None if math.isnan(gain.estimate.high) else gain.estimate.high - gain.estimate.mean
        face = method_style.color if gain.p < ALPHA else rcParams["figure.facecolor"]
        options: dict[str, Any] = {"color": method_style.color, "markerfacecolor": face, "capsize": 3}
        axes.errorbar(gain.estimate.mean, height, xerr=half, fmt=method_style.marker, markersize=6, **options)
    style.use_method_axis(axes, [row.method for row in order])
    axes.set_xlabel(f"points above {reference}")
    return figure


def _draw_stages(rows: Rows, styles: Styles) -> Figure:
    figure, axes = style.legend_figure(styles)
    for row in rows:
        points = stage_estimates(row, "test_accuracy", 100)
        _plot_stages(axes, row.method, styles[row.method], points)
        if not all(look.is_named for look in styles.values()):
            continue
        x, means = [stage + 1 for stage, _ in points], [estimate.mean for _, estimate in points]
        spread = [0.0 if math.isnan(estimate.sd) else estimate.sd for _, estimate in points]
        low, high = ([mean + sign * sd for mean, sd in zip(means, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=styles[row.method].color, alpha=0.13, linewidth=0)
    axes.set(xlabel="stage", ylabel="test accuracy, %")
    style.add_legend(figure, axes)
    return figure


def _plot_stages(
    axes: Axes,
    label: str,
    method_style: MethodStyle,
    points: list[tuple[int, Estimate]],
    max_markers: int = 10,
) -> None:
    x, y = [stage + 1 for stage, _ in points], [estimate.mean for _, estimate in points]
    axes.plot(x, y, markevery=max(1, len(x) // max_markers), linewidth=1.4, **method_style.line(label))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _draw_cost(rows: Rows, styles: Styles) -> Figure:
    figure, axes = style.legend_figure(styles)
    points = [(total_passes(row), row.average.mean) for row in rows]
    axes.plot(*zip(*pareto_front(points), strict=True), **_front_style())
    for row, (x, y) in zip(rows, points, strict=True):
        look, sd = styles[row.method], None if math.isnan(row.average.sd) else row.average.sd
        options: dict[str, Any] = {"color": look.color, "markersize": 7, "elinewidth": 0.9}
        options["label"] = look.legend_label(row.method)
        axes.errorbar(x, y, yerr=sd if look.is_named else None, fmt=look.marker, **options)
    _use_passes_axis(axes, rows)
    axes.set(xlabel="passes of the whole run", ylabel="average accuracy, %")
    style.add_legend(figure, axes)
    return figure


def _draw_spent(rows: Rows, styles: Styles) -> Figure:
    figure, axes = style.legend_figure(styles)
    curves = [accuracy_curve(row.metrics) for row in rows]
    front = pareto_front([point for curve in curves for point in curve])
    axes.plot(*zip(*front, strict=True), drawstyle="steps-post", **_front_style())
    for row, curve in zip(rows, curves, strict=True):
        line = styles[row.method].line(row.method)
        axes.plot(*zip(*curve, strict=True), linewidth=1.2, markersize=4, **line)
    _use_passes_axis(axes, rows)
    axes.set(xlabel="passes so far", ylabel="test accuracy, %")
    style.add_legend(figure, axes)
    return figure


def _draw_diagnostics(rows: Rows, styles: Styles, names: Sequence[str]) -> Figure:
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    height = 1.6 * lines + style.legend_height(styles) + 0.2
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for name, axes in zip(names, grid, strict=False):
        for row in rows:
            points = stage_estimates(row, name)
            if points:
                _plot_stages(axes, row.method, styles[row.method], points, max_markers=4)
        axes.set_title(name.replace("_", " "))
        axes.tick_params(labelsize=8)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    style.add_legend(figure, grid[0])
    return figure


def _use_passes_axis(axes: Axes, rows: Rows) -> None:
    axes.set_xlim(0, 1.06 * max(1.0, *map(total_passes, rows)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _front_style() -> dict[str, Any]:
    return {"color": style.ink(), "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 1}


def stage_estimates(row: ResultRow, name: str, factor: float = 1.0) -> list[tuple[int, Estimate]]:
    """Return (stage, mean over seeds) of a measurement, for every stage that has it."""
    by_stage: dict[int, list[float]] = {}
    for record in row.records:
        for stage in record.stages if record.status == "done" else ():
            value = stage.get(name)
            if _is_number(value):
                by_stage.setdefault(stage["index"], []).append(factor * value)
    return [(stage, estimate_mean(values)) for stage, values in sorted(by_stage.items())]


def diagnostics(rows: Iterable[ResultRow]) -> list[str]:
    """Return the names of the numbers that stages have besides sizes, results, costs and those of probes."""
    records = [record for row in rows for record in row.records]
    probed = {name for record in records for name in record.units}
    names = {name for record in records for name, value in record.stages[0].items() if _is_number(value)}
    return sorted(name for name in names - probed - NOT_DIAGNOSTICS if "[" not in name)[:MAX_DIAGNOSTICS]


def total_passes(row: ResultRow) -> float:
    """Return the passes of a whole run, averaged over seeds."""
    return row.cost["passes"] or 0.0


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, value) that no other point matches or beats at the same or a lower cost."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
