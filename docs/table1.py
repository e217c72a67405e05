"""Write docs/table1.md: the cells of Table 1 of the DASH paper beside those of the published records.

python docs/table1.py [--check]   write the page, or fail if it is not current
"""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from page_script import write_or_check
from pages import table
from scipy.stats import t as student

from plastibench.store.record import Record
from plastibench.store.records_file import read_records

PAGE = Path(__file__).with_suffix(".md")
RECORDS = PAGE.parents[1] / "results" / "records" / "table1-cifar10.jsonl.xz"
PAPER_SEEDS = 5
HEADER = [
    "method",
    "cell",
    "paper (5 seeds)",
    "here",
    "seeds",
    "difference",
    "95 % interval if both are the same",
    "",
]


def page() -> str:
    """Return the text of the page."""
    told = tomllib.loads(PAGE.with_suffix(".toml").read_text(encoding="utf-8"))
    runs = read_records(RECORDS).runs
    rows = [
        row
        for method, cells in told["cells"].items()
        for row in _rows(method, cells, [run for run in runs if run.spec.method.name == method])
    ]
    return f"{told['introduction'].lstrip()}\n{table(HEADER, rows)}\n{told['reading'].lstrip()}"


def _rows(method: str, cells: dict[str, Sequence[float]], runs: Sequence[Record]) -> Iterator[list[str]]:
    for name, (mean, spread) in cells.items():
        values = [_value(run, name) for run in runs]
        difference, half = statistics.fmean(values) - mean, half_width(spread, values)
        is_share = name.endswith("accuracy")
        form = "{:.2f}" if is_share else "{:,.0f}"
        yield [
            f"`{method}`",
            f"{name.replace('_', ' ')}{', %' if is_share else ''}",
            f"{form.format(mean)} ({form.format(spread)})",
            form.format(statistics.fmean(values)),
            str(len(values)),
            ("+" if difference >= 0 else "") + form.format(difference),
            f"-{form.format(half)} to +{form.format(half)}",
            "agrees" if abs(difference) <= half + 0.5 * 10 ** -(2 if is_share else 0) else "**differs**",
        ]


def _value(run: Record, cell: str) -> float:
    """Return a cell of one run: accuracies in percent, steps of one stage."""
    which, _, what = cell.partition("_")
    column, factor = ("test_accuracy", 100.0) if what == "accuracy" else ("steps", 1.0)
    values = [factor * float(stage[column]) for stage in run.stages]
    return values[-1] if which == "last" else statistics.fmean(values)


def half_width(spread: float, values: Sequence[float]) -> float:
    """Return half the 95 % interval of the difference of two means if both samples are of one normal law.

    `spread` is the population standard deviation of the paper's seeds; the variance is pooled with ours.
    """
    squares = PAPER_SEEDS * spread**2 + len(values) * statistics.pvariance(values)
    freedom = PAPER_SEEDS + len(values) - 2
    scale = math.sqrt(squares / freedom * (1 / PAPER_SEEDS + 1 / len(values)))
    return float(student.ppf(0.975, freedom)) * scale


if __name__ == "__main__":
    write_or_check(PAGE, page, __doc__, "make results")
