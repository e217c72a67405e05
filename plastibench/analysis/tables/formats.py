"""Tables as text for other programs: Markdown, CSV, LaTeX, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from plastibench.analysis.tables.aggregate import across
from plastibench.analysis.tables.columns import STYLES, Cell, Sheet, sheet
from plastibench.analysis.tables.rows import Table
from plastibench.store.run_metrics import COSTS

FORMATS = ("text", "md", "csv", "latex", "json")

LATEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {letter: f"${letter}$" for letter in "<>"}
)
"""What letters that LaTeX takes for commands, or prints as others, are written as."""


def sheets(found: list[Table], columns: Sequence[str] = STYLES["standard"]) -> list[Sheet]:
    """Return what is shown of tables: each of them, and one over all where several can be joined."""
    joined = across(found)
    return [sheet(table, columns) for table in found] + ([joined.sheet()] if joined else [])


def markdown(shown: Sheet) -> str:
    """Return a table in Markdown."""
    lines = [f"### {shown.title}", "", _line([Cell(name) for name in shown.head])]
    lines.append(_line([Cell("---")] + [Cell("---:")] * (len(shown.head) - 1)))
    lines += [_line(row) for row in shown.rows]
    return "\n".join([*lines, "", *(f"{note}  " for note in shown.notes), ""])


def _line(row: list[Cell]) -> str:
    texts = (cell.text.replace("|", "\\|") for cell in row)
    marked = (f"**{text}**" if cell.strong else text for text, cell in zip(texts, row, strict=True))
    return "| " + " | ".join(marked) + " |"


def latex(shown: Sheet) -> str:
    """Return a table for LaTeX; it needs the package booktabs."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(shown.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(shown.head) - 1)}}}", r"\toprule"]
    lines += [_row([Cell(name) for name in shown.head]), r"\midrule", *(_row(row) for row in shown.rows)]
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in shown.notes), r"\end{table}", ""]
    return "\n".join(lines)


def _row(row: list[Cell]) -> str:
    texts = [_escaped(cell.text).replace("+-", r"$\pm$") for cell in row]
    marked = (rf"\textbf{{{text}}}" if cell.strong else text for text, cell in zip(texts, row, strict=True))
    return " & ".join(marked) + r" \\"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


def as_plain(table: Table) -> dict[str, Any]:
    """Return a table as plain values, unrounded; None is what is not known."""
    return {
        "title": table.title,
        "baseline": table.baseline,
        "cost_reference": table.cost_reference,
        "notes": list(table.notes),
        "rows": [
            {
                "method": row.method,
                "seeds": list(row.seeds),
                "diverged": row.diverged,
                "last": row.last.as_dict(),
                "average": row.average.as_dict(),
                "gains": {
                    name: gain.estimate.as_dict() | {"p": gain.p, "p_worse": gain.p_worse}
                    for name, gain in row.gains.items()
                },
                "cost": dict(row.cost),
                "relative": dict(row.relative),
                "hardware": {
                    name: {"cost": dict(cost), "relative": dict(relative)}
                    for name, (cost, relative) in row.machines.items()
                },
                "match": row.match,
            }
            for row in table.rows
        ],
    }


def as_csv(found: list[Table]) -> str:
    """Return tables as one CSV text, a line for each row, unrounded."""
    out = io.StringIO()
    names = ["setting", "method", "n", "diverged", "last_mean", "last_sd", "average_mean", "average_sd"]
    ends = ("mean", "low", "high", "p")
    names += [f"{what}_{end}" for what in ("gain", "over_cost_reference") for end in ends]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "match", *COSTS])
    for table in found:
        for row in table.rows:
            values: list[Any] = [table.title, row.method, len(row.outcomes), row.diverged]
            values += [_known(v) for v in (row.last.mean, row.last.sd, row.average.mean, row.average.sd)]
            for name in (table.baseline, table.cost_reference):
                gain = row.gains.get(name or "")
                found_gain = gain.estimate if gain else None
                values += [_known(getattr(found_gain, end)) if found_gain else None for end in ends[:-1]]
                values.append(gain.p if gain else None)
            writer.writerow([*values, row.match, *(row.cost[name] for name in COSTS)])
    return out.getvalue()


def render(found: list[Table], form: str, columns: Sequence[str] = STYLES["standard"]) -> str:
    """Return tables in one of the forms for other programs; CSV and JSON have all that there is."""
    if form == "json":
        joined = across(found)
        plain = {"tables": [as_plain(table) for table in found], "across": joined and joined.as_plain()}
        return json.dumps(plain, indent=1) + "\n"
    if form == "csv":
        return as_csv(found)
    write = latex if form == "latex" else markdown
    return "\n".join(write(shown) for shown in sheets(found, columns))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
