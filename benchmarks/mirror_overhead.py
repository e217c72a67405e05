"""What the mirror costs: small runs with and without it, side by side, and the writer's own seconds a run.

    python benchmarks/mirror_overhead.py [RUNS] [REPEATS]

RUNS runs of the quick start's task are carried out one after the other, with the mirror and without in turn.
Their seconds are those of their own clocks; the writer has the other core.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.aggregates import write_aggregates
from plastibench.tracking.leaderboard import leaderboard_tables
from plastibench.tracking.writer import MlflowWriter

RUN = ("run", "--task", "digits", "--set", "stages=10", "--method", "warm", "--jobs", "1")


def main(runs: int = 12, repeats: int = 3) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        pairs = [
            (_train(home / f"with-{k}", runs, "--mlflow"), _train(home / f"without-{k}", runs, "--no-mlflow"))
            for k in range(repeats)
        ]
        for k, (mirrored, alone) in enumerate(pairs):
            print(f"{runs} runs, repeat {k}: {mirrored:.2f} s with the mirror, {alone:.2f} s without")
        ratios = [100 * (mirrored / alone - 1) for mirrored, alone in pairs]
        spread = f"median of {repeats}; {min(ratios):+.2f} to {max(ratios):+.2f}"
        print(f"mirror: {statistics.median(ratios):+.2f} % ({spread})")
        _writer(home / "with-0", home / "again")


def _train(home: Path, runs: int, *words: str) -> float:
    """Return the seconds that runs took, by their own clocks, from first to last stage."""
    command = [sys.executable, "-m", "plastibench", *RUN, "--seeds", str(runs), "--home", str(home), *words]
    subprocess.run(command, check=True, capture_output=True)
    return sum(float(record.provenance["seconds"]) for record in Store(home).records())


def _writer(home: Path, other: Path) -> None:
    """Print the seconds of writing one finished run, first use and import left out."""
    records = list(Store(home).records())
    writer = MlflowWriter(TrackingServer.from_uri(None, other))
    seconds = []
    for record in records:
        start = time.perf_counter()
        with writer.session():
            writer.write_record(writer.experiment("digits"), record)
        seconds.append(time.perf_counter() - start)
    del seconds[0]
    _aggregates(writer, records)
    print(
        f"writer: {1000 * statistics.median(seconds):.0f} ms a run (median of {len(seconds)}; "
        f"{1000 * min(seconds):.0f} to {1000 * max(seconds):.0f})"
    )


def _aggregates(writer: MlflowWriter, records: list[Record]) -> None:
    """Print the seconds of writing a leaderboard's aggregates for the first time, also for each run."""
    start = time.perf_counter()
    tables = leaderboard_tables(records)
    with writer.session():
        write_aggregates(writer, writer.experiment("digits"), tables)
    spent = 1000 * (time.perf_counter() - start)
    rows = sum(len(table.rows) for table in tables)
    print(f"aggregates: {spent:.0f} ms for {rows} methods, {spent / len(records):.1f} ms a run")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
