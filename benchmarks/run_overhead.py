"""Say what share of the seconds of runs is spent on neither training, evaluation, the remedy nor probes.

    plastibench run --home HOME
    python benchmarks/run_overhead.py HOME
    python benchmarks/run_overhead.py --run --task digits --method warm --seeds 1 --set stages=10

Reading data, building models, writing results and checkpoints, and everything else that happens between the
start and the end of a run; not what happens outside runs, such as imports before the first one of a process.
With --run, the words of a `plastibench run` follow: it is executed here, in a folder that is removed, and the
seconds of the whole command after its imports are divided; counting FLOPs is part of training.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from plastibench.profiling.throughput import TimeBreakdown
from plastibench.store.record import Record
from plastibench.store.run_store import Store

PARTS = {
    "counting FLOPs (once a process)": ("training.flops:_trace_model", "training.flops:_trace_update"),
    "reading data": ("training.protocol:unwatched",),
    "reading data before runs": ("runner.data:unwatched", "profiling.estimate:unwatched"),
    "building models": ("training.learner:Learner.fresh_model",),
    "provenance": ("runner.provenance:provenance",),
    "estimate of the time": ("workflows.run:announce_run_time",),
}
"""Functions whose seconds are counted, those inside others once for each."""


def overhead(record: Record) -> float:
    """Return the share of a run, in 0..1."""
    shares = TimeBreakdown.from_record(record).fractions()
    return shares["store"] + shares["rest"]


def summary(records: Sequence[Record]) -> str:
    """Return the share of all runs together, and the median, smallest and largest of a run."""
    seconds = [float(record.provenance["seconds"]) for record in records]
    shares = [overhead(record) for record in records]
    lost = sum(share * of_run for share, of_run in zip(shares, seconds, strict=True))
    each = f"{statistics.median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%})"
    return (
        f"{len(records)} runs, {sum(seconds):,.1f} s: {lost / sum(seconds):.2%} "
        f"neither training, evaluation, remedy nor probes; of a run {each}"
    )


def count_seconds(names: Sequence[str], part: str, found: Counter[str]) -> None:
    """Add the seconds that functions take from now on to a part; of a generator those of each item."""
    for name in names:
        module, _, path = name.partition(":")
        *owners, last = path.split(".")
        owner: Any = import_module(f"plastibench.{module}")
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, last, _timed(getattr(owner, last), part, found))


def _timed(function: Callable[..., Any], part: str, found: Counter[str]) -> Callable[..., Any]:
    def timed(*args: Any, **named: Any) -> Any:
        begun = perf_counter()
        try:
            out = function(*args, **named)
        finally:
            found[part] += perf_counter() - begun  # type: ignore[assignment]
        return items(out) if isinstance(out, Iterator) else out

    def items(iterator: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun = perf_counter()
            item = next(iterator, None)
            found[part] += perf_counter() - begun  # type: ignore[assignment]
            if item is None:
                return
            yield item

    return timed


def run(words: Sequence[str]) -> Iterator[str]:
    """Execute a `plastibench run` in this process, and yield the lines about its seconds."""
    from plastibench.cli.main import main as command_line
    from plastibench.runner.worker import init_worker

    found = Counter[str]()
    for part, names in PARTS.items():
        count_seconds(names, part, found)
    with tempfile.TemporaryDirectory() as home:
        from plastibench.runner.context import RunContext
        from plastibench.runner.workspace import Workspace

        init_worker(RunContext(Workspace(home=Path(home)), "cpu"))  # what it imports, before the clock
        sys.argv = ["plastibench", "run", "--home", home, "--jobs", "1", "--threads", "1", *words]
        begun = perf_counter()
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise
        whole = perf_counter() - begun
        records = list(Store(Path(home)).records())
    yield summary(records)
    inside = sum(float(record.provenance["seconds"]) for record in records)
    written = sum(float(record.provenance["store_seconds"]) for record in records)
    saved = sum(float(record.provenance["checkpoint_seconds"]) for record in records)
    found |= {"outside runs": whole - inside, "writing results": written, "checkpoints": saved}  # type: ignore[dict-item]
    yield f"of {whole:.1f} s after imports: " + ", ".join(
        f"{part} {seconds:.2f} s ({seconds / whole:.1%})" for part, seconds in found.most_common()
    )


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("home", type=Path, nargs="?", help="a folder of runs")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="the words of a `plastibench run`")
    options = parser.parse_args()
    if options.run is not None:
        print(*run(options.run), sep="\n")
        return
    if options.home is None:
        parser.error("name a folder of runs, or give --run")
    records = list(Store(options.home).records())
    if not records:
        parser.error("there are no finished runs in this folder")
    print(summary(records))


if __name__ == "__main__":
    main()
