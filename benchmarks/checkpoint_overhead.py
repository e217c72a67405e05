"""What checkpoints cost: the same run with the default interval and without any, side by side.

    python benchmarks/checkpoint_overhead.py [--pairs 5] [--every 60] [--set NAME=VALUE ...]

Each pair is two runs in this process, one after the other, the order changing from pair to pair. Printed are
the ratio of their seconds, that of the seconds that the processor worked for them, which a busy machine
disturbs less, and the share of a run's time that went into writing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

from plastibench.devices import get_device
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.worker import init_worker
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record

USUAL = {"stages": "6", "max_epochs": "6", "target_accuracy": "none"}


class RaiseLogs(RunCallback):
    """Raise an error for anything worth a line."""

    def on_log(self, spec: Spec, message: str) -> None:
        raise RuntimeError(message)


@dataclass
class Pair:
    """The two runs of a pair."""

    kept: Record
    never: Record
    processor: float
    """The processor's seconds with checkpoints over those without."""

    def ratio(self) -> float:
        """Return the seconds with checkpoints over those without."""
        return float(self.kept.provenance["seconds"] / self.never.provenance["seconds"])

    def share(self) -> float:
        """Return the share of the run that was spent on writing checkpoints."""
        return float(self.kept.provenance["checkpoint_seconds"] / self.kept.provenance["seconds"])


def a_run(spec: Spec, context: RunContext, interval: float) -> tuple[Record, float]:
    """Carry out a run in a home of its own; return its record and the processor's seconds."""
    start = process_time()
    with tempfile.TemporaryDirectory() as home:
        workspace = replace(context.workspace, home=Path(home))
        there = replace(context, workspace=workspace, checkpoint_interval=interval)
        init_worker(there)
        return execute(spec, there, [RaiseLogs()]), process_time() - start


def pairs(spec: Spec, context: RunContext, count: int) -> list[Pair]:
    """Carry out pairs of runs after one that warms everything up; they must have the same bits."""
    a_run(spec, context, math.inf)
    found = []
    for number in range(count):
        first = (
            (context.checkpoint_interval, math.inf) if number % 2 else (math.inf, context.checkpoint_interval)
        )
        made = {interval: a_run(spec, context, interval) for interval in first}
        (kept, with_it), (never, without) = made[context.checkpoint_interval], made[math.inf]
        pair = Pair(kept, never, with_it / without)
        assert pair.kept.provenance["weights"] == pair.never.provenance["weights"]
        found.append(pair)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--every", type=float, default=RunContext.checkpoint_interval, help="seconds between checkpoints"
    )
    parser.add_argument("--task", default="digits")
    parser.add_argument("--method", default="warm")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data", type=Path, default=Path("data"))
    words = parser.parse_args()
    given = USUAL | dict(text.split("=", 1) for text in words.set)
    context = RunContext(
        Workspace(home=Path(), data=words.data, cache=words.data),
        "cpu",
        threads=1,
        checkpoint_interval=words.every,
    )
    (spec,) = Grid((words.task,), (words.method,), seeds=(0,), settings=given).specs(context.registry)
    found = pairs(spec, context, words.pairs)
    shares = [pair.share() for pair in found]
    seconds = statistics.mean(pair.never.provenance["seconds"] for pair in found)
    print(f"{words.task}, {words.method}, {given}; {get_device('cpu').name()}, 1 thread")
    print(f"{len(found)} pairs of runs of {seconds:.1f} s, interval {words.every:g} s and between stages")
    print(f"time with / without: {_spread([pair.ratio() for pair in found])}")
    print(f"processor's time with / without: {_spread([pair.processor for pair in found])}")
    print(
        f"share of the time spent on writing: mean {statistics.mean(shares):.3%}, at most {max(shares):.3%}"
    )


def _spread(ratios: list[float]) -> str:
    spread = statistics.stdev(ratios) if len(ratios) > 1 else math.nan
    return f"mean {statistics.mean(ratios):.4f}, sd {spread:.4f}, {min(ratios):.4f} to {max(ratios):.4f}"


if __name__ == "__main__":
    main()
