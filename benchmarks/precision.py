"""Does a lower precision change the conclusions? The same runs in two precisions, paired by seed.

    python benchmarks/precision.py --home HOME --seeds 12 --set stages=10

Executes every method of the task in both precisions, unless HOME has the run already (--seeds 0 only reads
HOME), and prints a Markdown table. Two precisions are equivalent for a method if two one-sided t tests
(TOST) of the paired differences in average accuracy, Holm-corrected over the methods, show a difference
smaller than the margin. The table also has the gains over the baseline: a conclusion is the sign of a
significant gain.
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

from plastibench.analysis.stats.estimate import Estimate, equivalence_test, paired_difference
from plastibench.analysis.stats.significance import ALPHA, NONINFERIORITY_MARGIN, holm_correction
from plastibench.analysis.tables.table import ResultRow, ResultTable, build_tables
from plastibench.experiments import suites
from plastibench.store.run_metrics import RunMetrics
from plastibench.store.run_store import Store


@dataclass(frozen=True)
class Pair:
    """One method in two precisions."""

    usual: ResultRow
    other: ResultRow

    def runs(self) -> list[tuple[RunMetrics, RunMetrics]]:
        """Return the runs of shared seeds."""
        there = {run.seed: run for run in self.other.metrics}
        return [(run, there[run.seed]) for run in self.usual.metrics if run.seed in there]

    def difference(self) -> Estimate:
        """Return the difference in average accuracy: the other precision minus the usual one."""
        runs = self.runs()
        return paired_difference([other.average for _, other in runs], [usual.average for usual, _ in runs])

    def steps(self) -> float:
        """Return the steps in the other precision divided by those in the usual one, averaged over seeds."""
        return fmean(sum(other.steps) / sum(usual.steps) for usual, other in self.runs())

    def line(self, p: float) -> list[str]:
        """Return the cells of the row, with the corrected p-value of equivalence."""
        found = [
            self.usual.method,
            str(len(self.runs())),
            self.usual.average.text(),
            self.other.average.text(),
        ]
        found += [self.difference().interval_text(), f"{p:.2g}"]
        found += [part for row in (self.usual, self.other) for part in gain(row)]
        same = conclusion(self.usual) == conclusion(self.other)
        return [*found, "yes" if same else "NO", f"{self.steps():.2f}"]


def gain(row: ResultRow) -> tuple[str, str]:
    """Return the gain over the baseline with its interval, and its corrected p-value."""
    found = row.gains.get(row.baseline or "")
    return (found.estimate.interval_text(), f"{found.p:.2g}") if found else ("-", "-")


def conclusion(row: ResultRow) -> float:
    """Return the sign of the gain if it is significant, else 0."""
    found = row.gains.get(row.baseline or "")
    return math.copysign(1, found.estimate.mean) if found and found.p < ALPHA else 0.0


def pairs(home: Path, names: Sequence[str]) -> list[Pair]:
    """Return the methods that finished in both precisions; the home has one setting in each."""
    usual, other = (table(home, name) for name in names)
    there = {row.method: row for row in other.rows}
    return [Pair(row, there[row.method]) for row in usual.rows if row.method in there]


def table(home: Path, precision: str) -> ResultTable:
    """Return the table of the runs in a precision."""
    records = [r for r in Store(home).records() if r.spec.recipe["precision"] == precision]
    found = build_tables(records, suites.defaults().baseline)
    if len(found) != 1:
        sys.exit(f"{home} holds {len(found)} tables in {precision}, and must hold one")
    return found[0]


def lines(found: Sequence[Pair], names: Sequence[str], margin: float) -> Iterator[str]:
    """Yield the lines of the Markdown table and its summary."""
    a, b = names
    head = ["method", "n", f"{a} %", f"{b} %", f"{b} - {a}", "p of a difference >= margin"]
    head += [f"gain, {a}", "p", f"gain, {b}", "p", "same conclusion", f"steps, {b} / {a}"]
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    corrected = holm_correction([equivalence_test(pair.difference(), margin) for pair in found])
    for pair, p in zip(found, corrected, strict=True):
        yield f"| {' | '.join(pair.line(p))} |"
    shown = sum(p < ALPHA for p in corrected)
    same = sum(conclusion(pair.usual) == conclusion(pair.other) for pair in found)
    yield ""
    yield f"equivalent within {margin} points: {shown} of {len(found)} methods; same conclusion: {same}"


def run(options: argparse.Namespace, precision: str) -> None:
    """Execute all methods of the task through the command line."""
    from plastibench.plugins.registry import Registry

    words = [sys.executable, "-m", "plastibench", "run", "--task", options.task, "--seeds", options.seeds]
    words += ["--method", ",".join(Registry().names("method")), "--device", options.device]
    words += ["--home", str(options.home), "--no-mlflow"]
    words += ["--data", str(options.data)] if options.data else []
    settings = [f"precision={precision}", *options.set]
    subprocess.run([*words, *(part for text in settings for part in ("--set", text))], check=True)


def main() -> None:
    """Execute missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--task", default="digits")
    parser.add_argument("--seeds", default="12", help="as `plastibench run` reads them; 0 only reads HOME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as `run --set`")
    parser.add_argument("--precisions", default="fp32,bf16", help="the usual one and the other")
    parser.add_argument("--margin", type=float, default=NONINFERIORITY_MARGIN, help="percentage points")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    names = options.precisions.split(",")
    for name in names if options.seeds != "0" else ():
        run(options, name)
    print("\n".join(lines(pairs(options.home, names), names, options.margin)))


if __name__ == "__main__":
    main()
