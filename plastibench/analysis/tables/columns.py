"""The columns that a table can have: what stands at the head, and what in each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plastibench.analysis.stats import LEVEL, fewest_seeds, mean, p_text, population_sd, smallest_p
from plastibench.analysis.tables.rows import MARGIN, Gain, Row, Table
from plastibench.errors import unknown
from plastibench.store.run_metrics import HARDWARE_DEPENDENT

ABSENT = "absent"
"""Stands for what was not measured: never a zero."""


class Cell(NamedTuple):
    """A text, and whether a test supports what it says."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column; `{baseline}` and `{cost_reference}` in its head stand for their names."""

    head: str
    cell: Callable[[Row, Table], Cell]
    needs: str | None = None
    """"baseline" or "cost_reference" where it is left out of tables that have none."""


def _cost(name: str, form: str = ",.0f", scale: float = 1.0) -> Callable[[Row, Table], Cell]:
    return _spent(name, 0, lambda value: format(value / scale, form))


def _relative(name: str) -> Callable[[Row, Table], Cell]:
    return _spent(name, 1, lambda value: f"{value:.2f}")


def _spent(name: str, which: int, form: Callable[[float], str]) -> Callable[[Row, Table], Cell]:
    """Return a cell of costs (0) or relative costs (1): by hardware where there is more than one."""

    def cell(row: Row, table: Table) -> Cell:
        if len(table.hardware) < 2 or not name.endswith(HARDWARE_DEPENDENT):
            return Cell(known((row.cost, row.relative)[which][name], form))
        found = {hardware: both[which][name] for hardware, both in row.machines.items()}
        return Cell(by_hardware(found, table.hardware, form))

    return cell


def by_hardware(
    values: Mapping[str, float | None], hardware: Sequence[str], form: Callable[[float], str]
) -> str:
    """Return one value for each hardware, with its number where there is more than one to tell apart."""
    if len(hardware) < 2:
        return known(next(iter(values.values()), None), form)
    parts = [f"{known(value, form)} (h{hardware.index(name) + 1})" for name, value in values.items()]
    return " / ".join(parts) if any(value is not None for value in values.values()) else ABSENT


def hardware_note(hardware: Sequence[str]) -> list[str]:
    """Return what the numbers of `by_hardware` stand for."""
    if len(hardware) < 2:
        return []
    places = "; ".join(f"h{number}: {name}" for number, name in enumerate(hardware, start=1))
    return [f"seconds, memory and energy are those of one hardware each, never averaged: {places}"]


def known(value: float | None, form: Callable[[float], str]) -> str:
    """Return a number as text, or the word for one that was not measured."""
    return ABSENT if value is None else form(value)


def _gain(reference: str) -> Callable[[Row, Table], Cell]:
    def cell(row: Row, table: Table) -> Cell:
        found = _found(row, table, reference)
        return Cell("-") if found is None else Cell(found.estimate.interval_text(), found.p < LEVEL)

    return cell


def _p(reference: str) -> Callable[[Row, Table], Cell]:
    def cell(row: Row, table: Table) -> Cell:
        found = _found(row, table, reference)
        return Cell("-") if found is None else Cell(p_text(found.p), found.p < LEVEL)

    return cell


def _not_worse(row: Row, table: Table) -> Cell:
    found = _found(row, table, "cost_reference")
    if found is None:
        return Cell("-")
    shown = found.p_worse < LEVEL
    return Cell(f"{'yes' if shown else 'not shown'} (p {p_text(found.p_worse)})", shown)


def _found(row: Row, table: Table, reference: str) -> Gain | None:
    return row.gains.get(getattr(table, reference) or "")


def count(row: Row) -> str:
    """Return how many runs count, and how many do not."""
    return f"{len(row.outcomes)}" + (f" + {row.diverged} diverged" if row.diverged else "")


def _match(row: Row, _: Table) -> Cell:
    return Cell("never" if row.match is None else f"{row.match:.2f}")


def _paper(head: str, values: Callable[[Row], Sequence[float]], form: Callable[[float], str]) -> Column:
    """Return a column as the DASH paper prints it: mean, and in brackets the population spread."""

    def cell(row: Row, _: Table) -> Cell:
        found = values(row)
        return Cell(f"{form(mean(found).mean)} ({form(population_sd(found))})" if found else "-")

    return Column(head, cell)


def _hundredths(value: float) -> str:
    return f"{value:.2f}"


def _cut(value: float) -> str:
    return str(int(value))


COLUMNS: dict[str, Column] = {
    "method": Column("method", lambda row, _: Cell(row.method)),
    "n": Column("n", lambda row, _: Cell(count(row))),
    "last": Column("last stage %", lambda row, _: Cell(row.last.text())),
    "average": Column("mean of stages %", lambda row, _: Cell(row.average.text())),
    "gain": Column("gain over {baseline}", _gain("baseline"), "baseline"),
    "p": Column("p against {baseline}", _p("baseline"), "baseline"),
    "over_cost_reference": Column("gain over {cost_reference}", _gain("cost_reference"), "cost_reference"),
    "p_cost_reference": Column("p against {cost_reference}", _p("cost_reference"), "cost_reference"),
    "not_worse": Column("no worse than {cost_reference}", _not_worse, "cost_reference"),
    "steps": Column("steps", _cost("steps")),
    "samples": Column("samples", _cost("samples")),
    "passes": Column("passes", _cost("passes")),
    "remedy_passes": Column("of remedy", _cost("remedy_passes")),
    "relative_steps": Column("steps / {cost_reference}", _relative("steps"), "cost_reference"),
    "relative_passes": Column("passes / {cost_reference}", _relative("passes"), "cost_reference"),
    "match": Column("to match {cost_reference}", _match, "cost_reference"),
    "flops": Column("TFLOP", _cost("flops", ",.2f", 1e12)),
    "evaluation_flops": Column("TFLOP of evaluation", _cost("evaluation_flops", ",.2f", 1e12)),
    "relative_flops": Column("FLOP / {cost_reference}", _relative("flops"), "cost_reference"),
    "seconds": Column("seconds", _cost("seconds", ",.1f")),
    "train_seconds": Column("s training", _cost("train_seconds", ",.1f")),
    "remedy_seconds": Column("s remedy", _cost("remedy_seconds", ",.1f")),
    "evaluation_seconds": Column("s evaluation", _cost("evaluation_seconds", ",.1f")),
    "relative_seconds": Column("seconds / {cost_reference}", _relative("seconds"), "cost_reference"),
    "memory": Column("peak MB", _cost("peak_memory", ",.1f", 1e6)),
    "relative_memory": Column("memory / {cost_reference}", _relative("peak_memory"), "cost_reference"),
    "energy": Column("kJ", _cost("energy", ",.2f", 1e3)),
    "relative_energy": Column("energy / {cost_reference}", _relative("energy"), "cost_reference"),
    "paper_last": _paper("last test acc", lambda row: [run.last for run in row.outcomes], _hundredths),
    "paper_last_steps": _paper(
        "last steps", lambda row: [float(run.steps[-1]) for run in row.outcomes], _cut
    ),
    "paper_average": _paper("average acc", lambda row: [run.average for run in row.outcomes], _hundredths),
    "paper_average_steps": _paper(
        "average steps", lambda row: [sum(run.steps) / len(run.steps) for run in row.outcomes], _cut
    ),
}

STYLES: dict[str, tuple[str, ...]] = {
    "standard": (
        "method",
        "n",
        "last",
        "average",
        "gain",
        "over_cost_reference",
        "steps",
        "passes",
        "remedy_passes",
        "relative_passes",
        "match",
        "flops",
        "seconds",
    ),
    "paper": ("method", "n", "paper_last", "paper_last_steps", "paper_average", "paper_average_steps"),
    "full": tuple(name for name in COLUMNS if not name.startswith("paper_")),
}
"""Choices of columns. `paper` is the convention of the DASH paper's table 1: plain means, population
spread, steps cut off to whole numbers."""


@dataclass(frozen=True)
class Sheet:
    """A table as it is shown: texts in rows, and the sentences below."""

    title: str
    head: list[str]
    rows: list[list[Cell]]
    notes: list[str]


def choose(style: str, columns: str | None) -> tuple[str, ...]:
    """Return the columns of a style, or those named, separated by commas. Raises RequestError."""
    if columns is None:
        if style not in STYLES:
            raise unknown("style", style, STYLES)
        return STYLES[style]
    names = [name.strip() for name in columns.split(",") if name.strip()]
    for name in names or [""]:
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS)
    return tuple(dict.fromkeys(["method", *names]))


def sheet(table: Table, names: Sequence[str] = STYLES["standard"]) -> Sheet:
    """Return a table with some of the columns; those that lack their reference are left out."""
    kept = [name for name in names if _has(table, COLUMNS[name])]
    words = {"baseline": table.baseline, "cost_reference": table.cost_reference}
    head = [COLUMNS[name].head.format(**words) for name in kept]
    rows = [[COLUMNS[name].cell(row, table) for name in kept] for row in table.rows]
    return Sheet(table.title, head, rows, legend(table, kept))


def _has(table: Table, column: Column) -> bool:
    return column.needs is None or getattr(table, column.needs) is not None


def legend(table: Table, names: Sequence[str]) -> list[str]:
    """Return the sentences below a table with these columns."""
    paper = any(name.startswith("paper_") for name in names)
    lines = [
        "accuracy on the test set: mean (population standard deviation) over n seeds, as in arXiv 2410.23495"
        if paper
        else "accuracy on the test set: mean +- standard deviation over n seeds"
    ]
    if {"gain", "over_cost_reference"} & set(names):
        lines += ["gain: points of the mean over stages, paired by seed, with a 95 % interval", *power(table)]
    if "not_worse" in names:
        lines.append(
            f"no worse: above {table.cost_reference} less {MARGIN} points, by a one-sided t test (Holm)"
        )
    lines.append(
        "cost of a whole run, mean over seeds: passes are examples taken forward and backward, "
        "by training (SAM's second pass too) and by the remedy itself"
    )
    lines += hardware_note(table.hardware)
    if "match" in names:
        lines.append(
            f"to match: share of {table.cost_reference}'s passes at which the mean reaches its last accuracy"
        )
    return [*lines, *table.notes]


def power(table: Table) -> list[str]:
    """Return what the number of seeds can decide: which test bold stands for, or that there is none."""
    lines = []
    for reference in table.references:
        pairs = [row.gains[reference].estimate.n for row in table.rows if reference in row.gains]
        if not pairs:
            continue
        n, needed = max(pairs), fewest_seeds(len(pairs))
        family = f"{len(pairs)} comparisons with {reference}" if len(pairs) > 1 else f"one with {reference}"
        if smallest_p(n) * len(pairs) >= LEVEL:
            lines.append(
                f"n = {n}: no single comparison can reach p < {LEVEL} after correction for {family}; "
                f"that takes {needed} seeds"
            )
        else:
            lines.append(f"bold: p < {LEVEL} by the exact sign-flip test, corrected (Holm) for {family}")
    return lines
