"""Say what share of the seconds of finished runs was spent neither on training, evaluation nor the remedy.

    plastibench run --home HOME
    python benchmarks/run_overhead.py HOME

Reading data, building models, writing results and checkpoints, and everything else that happens between the
start and the end of a run; not what happens outside runs, such as imports before the first one of a process.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from plastibench.profiling.throughput import TimeBreakdown
from plastibench.store.record import Record
from plastibench.store.run_store import Store


def overhead(record: Record) -> float:
    """Return the share of a run, in 0..1."""
    shares = TimeBreakdown.from_record(record).fractions()
    return shares["store"] + shares["rest"]


def main() -> None:
    """Print the share of all runs together, and the median, smallest and largest of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("home", type=Path, help="a folder of runs")
    records = list(Store(parser.parse_args().home).records())
    if not records:
        parser.error("there are no finished runs in this folder")
    seconds = [float(record.provenance["seconds"]) for record in records]
    shares = [overhead(record) for record in records]
    lost = sum(share * of_run for share, of_run in zip(shares, seconds, strict=True))
    print(
        f"{len(records)} runs, {sum(seconds):,.1f} s: {lost / sum(seconds):.2%} neither training, evaluation "
        f"nor remedy; of a run {statistics.median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%})"
    )


if __name__ == "__main__":
    main()
