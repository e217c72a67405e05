"""A comparison of two selections as text tables, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.stats.significance import ALPHA, format_p
from plastibench.analysis.tables.columns import count_text
from plastibench.analysis.tables.comparison import Comparison, MethodComparison, SettingComparison
from plastibench.analysis.tables.export import render, row_as_dict
from plastibench.analysis.tables.notes import significance_note
from plastibench.analysis.tables.table import ResultRow
from plastibench.analysis.tables.text_table import (
    Cell,
    TextTable,
    format_by_hardware,
    format_known,
    hardware_note,
)
from plastibench.errors import count
from plastibench.store.run_metrics import relative_cost

NARROW = ("n A", "n B", "B - A average", "p", "FLOPs B / A")
"""The columns that matter most, beside the method."""


def format_comparison(comparison: Comparison, *, wide: bool = True) -> list[TextTable]:
    """Return a table of texts for each setting that both selections have; a narrow one has few columns."""
    return [_text_table(setting, comparison, wide=wide) for setting in comparison.settings]


def render_comparison(comparison: Comparison, format: str) -> str:
    """Return a comparison in one of the `EXPORT_FORMATS`; CSV and JSON are unrounded."""
    return render(format, partial(format_comparison, comparison), partial(comparison_as_dict, comparison))


def _text_table(setting: SettingComparison, comparison: Comparison, *, wide: bool) -> TextTable:
    rows = [_cells(row, setting.hardware) for row in setting.rows]
    if not wide:
        rows = [{name: row[name] for name in ("method", *NARROW)} for row in rows]
    header = list(rows[0]) if rows else ["method"]
    return TextTable(setting.title, header, [list(row.values()) for row in rows], _notes(setting, comparison))


def _cells(row: MethodComparison, hardware: Sequence[str]) -> dict[str, Cell]:
    """Return the cells of a row by header."""
    a, b = row.first, row.second
    flops = relative_cost(b.cost, a.cost, same_hardware=False)["flops"]
    ratio = row.seconds_ratio()
    texts = {
        "n A": count_text(a),
        "n B": count_text(b),
        "A average %": a.average.text(),
        "B average %": b.average.text(),
        "B - A average": _difference(row.average, row),
        "p": "-" if row.average.n == 0 else format_p(row.p),
        "A last %": a.last.text(),
        "B last %": b.last.text(),
        "B - A last": _difference(row.last, row),
        "A TFLOPs": _tflops(a),
        "B TFLOPs": _tflops(b),
        "FLOPs B / A": format_known(flops, "{:.2f}".format),
        "A seconds": _seconds(a, hardware),
        "B seconds": _seconds(b, hardware),
        "seconds B / A": format_by_hardware(ratio, hardware, "{:.2f}".format) if ratio else "-",
    }
    bold = {"B - A average", "p"} if row.p < ALPHA else set()
    return {"method": Cell(row.method)} | {name: Cell(text, name in bold) for name, text in texts.items()}


def _tflops(row: ResultRow) -> str:
    return format_known(row.cost["flops"], lambda flops: f"{flops / 1e12:,.2f}")


def _seconds(row: ResultRow, hardware: Sequence[str]) -> str:
    seconds = {name: cost["seconds"] for name, (cost, _) in row.by_hardware.items()}
    return format_by_hardware(seconds, hardware, "{:,.1f}".format)


def _difference(estimate: Estimate, row: MethodComparison) -> str:
    return estimate.interval_text() + ("" if row.pairs or not estimate.n else " (unpaired)")


def _notes(setting: SettingComparison, comparison: Comparison) -> list[str]:
    a, b = comparison.names
    notes = [f"A: {a}; B: {b}; accuracy on the test set, averaged over stages or after the last stage"]
    if setting.differing:
        notes.append(f"the settings differ (A | B): {setting.differing}")
    notes += [f"{row.method} differs (A | B): {row.differing}" for row in setting.rows if row.differing]
    notes += [
        f"only in {side}: {', '.join(names)}"
        for side, names in zip("AB", setting.unmatched, strict=True)
        if names
    ]
    notes.append(
        "B - A: percentage points with a 95 % interval, paired by seed; by Welch's t test if fewer than two "
        "seeds are shared"
    )
    same = sum(row.same_runs for row in setting.rows)
    if same:
        notes.append(
            f"{count(same, 'run is', 'runs are')} in both A and B: differences are 0 by construction"
        )
    pairs = [row.pairs for row in setting.rows]
    if pairs:
        test = "the exact sign-flip test (Welch's t test if unpaired)"
        notes.append(significance_note(max(pairs) if all(pairs) else None, len(pairs), test=test))
    notes += [
        f"only in {side}: {title}"
        for side, titles in zip("AB", comparison.unmatched, strict=True)
        for title in titles
    ]
    return [*notes, *hardware_note(setting.hardware)]


def comparison_as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values, as JSON has them; None is unknown."""
    return {
        "A": comparison.names[0],
        "B": comparison.names[1],
        "only": _unmatched(comparison),
        "tables": [
            {
                "title": setting.title,
                "differing": setting.differing,
                "only": _unmatched(setting),
                "rows": [_row_as_dict(row) for row in setting.rows],
            }
            for setting in comparison.settings
        ],
    }


def _unmatched(compared: Comparison | SettingComparison) -> dict[str, list[str]]:
    return dict(zip("AB", map(list, compared.unmatched), strict=True))


def _row_as_dict(row: MethodComparison) -> dict[str, Any]:
    return {
        "method": row.method,
        "differing": row.differing,
        "pairs": row.pairs,
        "same_runs": row.same_runs,
        "average_accuracy": row.average.as_dict() | {"p": row.p},
        "last_accuracy": row.last.as_dict(),
        "seconds_ratio": row.seconds_ratio(),
        "A": row_as_dict(row.first),
        "B": row_as_dict(row.second),
    }
