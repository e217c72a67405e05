"""Does a lower precision change the conclusions? The same runs in two precisions, paired by seed.

    python benchmarks/precision.py --home HOME --seeds 12 --set stages=10

Runs every method of the task in both precisions (what HOME holds already is not run again; --seeds 0
only reads it) and prints a Markdown table. Two precisions are equivalent for a method where two one-sided
t tests of the paired differences of its mean accuracy over stages, corrected over the methods (Holm
1979), show that they differ by less than the margin. Beside it stand the gains over the baseline: a
conclusion is the sign of a gain where the table's corrected test finds one, and "none" elsewhere.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from plastibench.analysis import stats
from plastibench.analysis.tables import Row, RunMetrics, Table, tables
from plastibench.analysis.tables.rows import MARGIN
from plastibench.experiments import suites
from plastibench.store.run_store import Store


@dataclass(frozen=True)
class Pair:
    """One method in two precisions."""

    usual: Row
    other: Row

    def runs(self) -> list[tuple[RunMetrics, RunMetrics]]:
        """Return the runs of the same seed."""
        there = {run.seed: run for run in self.other.outcomes}
        return [(run, there[run.seed]) for run in self.usual.outcomes if run.seed in there]

    def accuracies(self) -> list[tuple[float, float]]:
        """Return the means over stages, the other precision's first."""
        return [(other.average, usual.average) for usual, other in self.runs()]

    def p(self, margin: float) -> float:
        """Return the p that the two differ by `margin` or more."""
        return stats.equivalent([a - b for a, b in self.accuracies()], margin)

    def steps(self) -> float:
        """Return the other precision's steps over the usual one's, a mean over seeds."""
        return fmean(sum(other.steps) / sum(usual.steps) for usual, other in self.runs())

    def line(self, p: float) -> list[str]:
        """Return the cells: `p` is corrected."""
        found = [
            self.usual.method,
            str(len(self.runs())),
            self.usual.average.text(),
            self.other.average.text(),
        ]
        found += [stats.paired(self.accuracies()).interval_text(), f"{p:.2g}"]
        found += [part for row in (self.usual, self.other) for part in gain(row)]
        same = conclusion(self.usual) == conclusion(self.other)
        return [*found, "yes" if same else "NO", f"{self.steps():.2f}"]


def gain(row: Row) -> tuple[str, str]:
    """Return the gain over the baseline with its interval, and its corrected p."""
    found = row.gains.get(row.baseline or "")
    return (found.estimate.interval_text(), f"{found.p:.2g}") if found else ("-", "-")


def conclusion(row: Row) -> float:
    """Return the sign of the gain where the test finds one, else 0."""
    found = row.gains.get(row.baseline or "")
    return math.copysign(1, found.estimate.mean) if found and found.p < stats.LEVEL else 0.0


def pairs(home: Path, names: Sequence[str]) -> list[Pair]:
    """Return the methods that finished in both precisions, from a home with one setting each."""
    usual, other = (table(home, name) for name in names)
    there = {row.method: row for row in other.rows}
    return [Pair(row, there[row.method]) for row in usual.rows if row.method in there]


def table(home: Path, precision: str) -> Table:
    """Return the one table of the runs in a precision."""
    records = [r for r in Store(home).records() if r.spec.recipe["precision"] == precision]
    found = tables(records, suites.defaults().baseline)
    if len(found) != 1:
        sys.exit(f"{home} holds {len(found)} tables in {precision}: exactly one is wanted")
    return found[0]


def lines(found: Sequence[Pair], names: Sequence[str], margin: float) -> Iterator[str]:
    """Yield the Markdown table, and what it comes to."""
    a, b = names
    head = ["method", "n", f"{a} %", f"{b} %", f"{b} - {a}", "p of a difference >= margin"]
    head += [f"gain, {a}", "p", f"gain, {b}", "p", "same conclusion", f"steps, {b} / {a}"]
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    corrected = stats.holm([pair.p(margin) for pair in found])
    for pair, p in zip(found, corrected, strict=True):
        yield f"| {' | '.join(pair.line(p))} |"
    shown = sum(p < stats.LEVEL for p in corrected)
    same = sum(conclusion(pair.usual) == conclusion(pair.other) for pair in found)
    yield ""
    yield f"equivalent within {margin} points: {shown} of {len(found)} methods; the same conclusion: {same}"


def run(options: argparse.Namespace, precision: str) -> None:
    """Run all methods of the task through the command line."""
    from plastibench.plugins.registry import Registry

    words = [sys.executable, "-m", "plastibench", "run", "--task", options.task, "--seeds", options.seeds]
    words += ["--method", ",".join(Registry().names("method")), "--device", options.device]
    words += ["--home", str(options.home), "--no-mlflow"]
    words += ["--data", str(options.data)] if options.data else []
    settings = [f"precision={precision}", *options.set]
    subprocess.run([*words, *(part for text in settings for part in ("--set", text))], check=True)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--task", default="digits")
    parser.add_argument("--seeds", default="12", help="as `plastibench run` reads them; 0 only reads HOME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as `run --set`")
    parser.add_argument("--precisions", default="fp32,bf16", help="the usual one and the other")
    parser.add_argument("--margin", type=float, default=MARGIN, help="points of accuracy")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    names = options.supported_precisions.split(",")
    for name in names if options.seeds != "0" else ():
        run(options, name)
    print("\n".join(lines(pairs(options.home, names), names, options.margin)))


if __name__ == "__main__":
    main()
