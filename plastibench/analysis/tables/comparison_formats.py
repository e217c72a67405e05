"""Two selections side by side as text: for people, Markdown, CSV, LaTeX, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from plastibench.analysis.stats import LEVEL, Estimate, fewest_seeds, p_text, smallest_p
from plastibench.analysis.tables.columns import Cell, Sheet, by_hardware, count, hardware_note, known
from plastibench.analysis.tables.comparison import Beside, Comparison, MethodComparison
from plastibench.analysis.tables.formats import latex, markdown
from plastibench.analysis.tables.rows import Row
from plastibench.store.run_metrics import relative_cost

HEAD = [
    "method",
    "n A",
    "n B",
    "A mean %",
    "B mean %",
    "B - A mean",
    "p",
    "A last %",
    "B last %",
    "B - A last",
    "A TFLOP",
    "B TFLOP",
    "FLOP B / A",
    "A seconds",
    "B seconds",
    "seconds B / A",
]


def sheets(found: Comparison) -> list[Sheet]:
    """Return what is shown of a comparison: a sheet for each setting that both have."""
    return [_sheet(setting, found) for setting in found.settings]


def render(found: Comparison, form: str) -> str:
    """Return a comparison in one of the forms for other programs; CSV and JSON are unrounded."""
    if form == "json":
        return json.dumps(as_plain(found), indent=1) + "\n"
    if form == "csv":
        return as_csv(found)
    write = latex if form == "latex" else markdown
    return "\n".join(write(shown) for shown in sheets(found))


def _sheet(setting: Beside, found: Comparison) -> Sheet:
    hardware = sorted(
        {name for row in setting.rows for side in (row.first, row.second) for name in side.machines}
    )
    rows = [_cells(row, hardware) for row in setting.rows]
    return Sheet(setting.title, HEAD, rows, [*_notes(setting, found), *hardware_note(hardware)])


def _cells(row: MethodComparison, hardware: Sequence[str]) -> list[Cell]:
    first, second = row.first, row.second
    flops = relative_cost(second.cost, first.cost, same_hardware=False)["flops"]
    return [
        Cell(row.method),
        Cell(count(first)),
        Cell(count(second)),
        Cell(first.average.text()),
        Cell(second.average.text()),
        Cell(_apart(row.average, row), row.p < LEVEL),
        Cell("-" if row.average.n == 0 else p_text(row.p), row.p < LEVEL),
        Cell(first.last.text()),
        Cell(second.last.text()),
        Cell(_apart(row.last, row)),
        *(Cell(known(side.cost["flops"], lambda value: f"{value / 1e12:,.2f}")) for side in (first, second)),
        Cell(known(flops, "{:.2f}".format)),
        *(Cell(_seconds(side, hardware)) for side in (first, second)),
        Cell(by_hardware(seconds_ratio(row), hardware, "{:.2f}".format) if seconds_ratio(row) else "-"),
    ]


def _apart(estimate: Estimate, row: MethodComparison) -> str:
    return estimate.interval_text() + ("" if row.pairs or not estimate.n else " (unpaired)")


def _seconds(side: Row, hardware: Sequence[str]) -> str:
    return by_hardware(
        {name: cost["seconds"] for name, (cost, _) in side.machines.items()}, hardware, "{:,.1f}".format
    )


def seconds_ratio(row: MethodComparison) -> dict[str, float | None]:
    """Return the seconds of the second side over the first's, for each hardware that both were made with."""
    return {
        name: relative_cost(row.second.machines[name][0], row.first.machines[name][0], same_hardware=True)[
            "seconds"
        ]
        for name in row.first.machines
        if name in row.second.machines
    }


def _notes(setting: Beside, found: Comparison) -> list[str]:
    notes = [f"A: {found.names[0]}; B: {found.names[1]}; mean: over stages; last: after the last stage"]
    if setting.differing:
        notes.append(f"the settings are not the same (A | B): {setting.differing}")
    notes += [
        f"{row.method} is not the same (A | B): {row.differing}" for row in setting.rows if row.differing
    ]
    notes += [
        f"only in {side}: {', '.join(names)}"
        for side, names in zip("AB", setting.alone, strict=True)
        if names
    ]
    notes.append(
        "B - A: points, with a 95 % interval; paired by the seeds that both have, or by Welch's t where they "
        "share less than two"
    )
    same = sum(row.same for row in setting.rows)
    if same:
        notes.append(f"{same} runs are on both sides, one and the same: there B - A is 0 by itself")
    return [*notes, *_power(setting), *_titles_alone(found)]


def _titles_alone(found: Comparison) -> list[str]:
    return [
        f"only in {side}: {title}" for side, titles in zip("AB", found.alone, strict=True) for title in titles
    ]


def _power(setting: Beside) -> list[str]:
    """Return what the pairs can decide: what bold stands for, or that there is none."""
    family = len(setting.rows)
    pairs = max((row.pairs for row in setting.rows), default=0)
    if all(row.pairs for row in setting.rows) and family and smallest_p(pairs) * family >= LEVEL:
        return [
            f"n = {pairs}: no single comparison can reach p < {LEVEL} after correction for {family}; "
            f"that takes {fewest_seeds(family)} seeds"
        ]
    return [
        f"bold: p < {LEVEL} by the exact sign-flip test (unpaired: Welch's t), corrected (Holm) for {family} "
        "comparisons"
    ]


def as_plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values, unrounded; None is what is not known."""
    return {
        "A": found.names[0],
        "B": found.names[1],
        "only": {"A": list(found.alone[0]), "B": list(found.alone[1])},
        "settings": [
            {
                "title": setting.title,
                "differing": setting.differing,
                "only": {"A": list(setting.alone[0]), "B": list(setting.alone[1])},
                "rows": [_plain(row) for row in setting.rows],
            }
            for setting in found.settings
        ],
    }


def _plain(row: MethodComparison) -> dict[str, Any]:
    return {
        "method": row.method,
        "differing": row.differing,
        "pairs": row.pairs,
        "same_runs": row.same,
        "average": row.average.as_dict() | {"p": row.p},
        "last": row.last.as_dict(),
        "seconds_ratio": seconds_ratio(row),
        "A": _side(row.first),
        "B": _side(row.second),
    }


def _side(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "seeds": list(row.seeds),
        "diverged": row.diverged,
        "average": row.average.as_dict(),
        "last": row.last.as_dict(),
        "cost": dict(row.cost),
        "hardware": {name: dict(cost) for name, (cost, _) in row.machines.items()},
    }


def as_csv(found: Comparison) -> str:
    """Return a comparison as CSV, a line for each method; seconds of several kinds of hardware are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [
        "setting",
        "method",
        "pairs",
        *(f"{w}_{e}" for w in ("average", "last") for e in ("mean", "low", "high")),
    ]
    costs = ("steps", "passes", "flops", "seconds")
    side = ["n", "diverged", "average_mean", "average_sd", "last_mean", "last_sd", *costs]
    writer.writerow([*names, "p", *(f"{letter}_{name}" for letter in "AB" for name in side)])
    for setting in found.settings:
        for row in setting.rows:
            values: list[Any] = [setting.title, row.method, row.pairs]
            for estimate in (row.average, row.last):
                plain = estimate.as_dict()
                values += [plain[name] for name in ("mean", "low", "high")]
            writer.writerow(
                [*values, row.p, *_side_values(row.first, costs), *_side_values(row.second, costs)]
            )
    return out.getvalue()


def _side_values(row: Row, costs: Sequence[str]) -> list[Any]:
    average, last, cost = row.average.as_dict(), row.last.as_dict(), dict[str, float | None](row.cost)
    found: list[Any] = [
        len(row.outcomes),
        row.diverged,
        average["mean"],
        average["sd"],
        last["mean"],
        last["sd"],
    ]
    return found + [cost[name] for name in costs]
