"""Time `plastibench run` on a grid whose runs are all finished, with one checkout or several side by side.

    python benchmarks/finished_grid.py [--package DIR ...] [--seeds 215] [--repeats 5]

Each checkout trains one real run of digits and writes its rows with its own store under every spec of a grid
of seven methods, without waiting for the disk. Each timing is of a process of its own: until it says that all
runs are finished, and until it ends. The checkouts take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TASK, METHODS = (
    "digits",
    ("cold", "warm", "shrink_perturb", "l2_init", "dash", "head_reset", "warm_reset_momentum"),
)
FINISHED = "finished already"

FABRICATE = """
import os, sys
from pathlib import Path
try:
    from plastibench.experiments.grid import Grid
    from plastibench.plugins.registry import Registry
    from plastibench.store.run_store import Store
except ImportError:  # before the packages
    from plastibench.grid import Grid
    from plastibench.registry import Registry
    from plastibench.store import Store
home, task, methods, seeds = sys.argv[1:]
os.fsync = lambda descriptor: None
store = Store(Path(home))
(record,) = store.records()
open_run = getattr(store, "open_run", None) or store.open
for spec in Grid((task,), tuple(methods.split(",")), seeds=tuple(range(int(seeds)))).specs(Registry()):
    if spec.id != record.id:
        with open_run(spec) as writer:
            for row in record.stages:
                writer.append(row)
            writer.finish(record.status, record.provenance)
"""


def child(package: Path, *words: object) -> subprocess.Popen[str]:
    """Start a Python process that imports the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(package.resolve()), "OMP_NUM_THREADS": "1"}
    # -P: the current folder must not come before the checkout.
    command = [sys.executable, "-P", *map(str, words)]
    return subprocess.Popen(
        command, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a process, which must be a success."""
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{process.args!r:.200} ended with {process.returncode}:\n{errors}")


def run_words(home: Path, methods: tuple[str, ...], seeds: int) -> list[object]:
    """Return the arguments of Python that run a grid."""
    grid = ["--task", TASK, "--method", ",".join(methods), "--seeds", seeds]
    return ["-m", "plastibench", "run", *grid, "--home", home, "--no-mlflow"]


def fabricate(package: Path, home: Path, seeds: int) -> None:
    """Train one run of the grid and write the others."""
    finish(child(package, *run_words(home, METHODS[:1], 1)))
    finish(child(package, "-c", FABRICATE, home, TASK, ",".join(METHODS), seeds))


@dataclass(frozen=True)
class Timing:
    """Seconds of one process."""

    finished: float
    """Until it says that all runs are finished."""
    processor: float
    """What the processor worked for that, which a busy machine disturbs less."""
    ended: float


def measure(package: Path, home: Path, seeds: int) -> Timing:
    """Run the finished grid once in a process of its own."""
    start, finished, processor = time.perf_counter(), 0.0, 0.0
    process = child(package, *run_words(home, METHODS, seeds))
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if FINISHED in line:
            finished, processor = time.perf_counter() - start, processor_seconds(process.pid)
    if process.wait() or not finished:
        sys.exit(f"{package} did not find {len(METHODS) * seeds} finished runs:\n{''.join(lines)}")
    return Timing(finished, processor, time.perf_counter() - start)


def processor_seconds(process: int) -> float:
    """Return the time that the processor has worked for a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(seconds: list[float]) -> str:
    """Return median, range and number of timings."""
    return (
        f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n = {len(seconds)})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    here = Path(__file__).parents[1]
    parser.add_argument(
        "--package", type=Path, action="append", metavar="DIR", help="a checkout; default: this"
    )
    parser.add_argument("--seeds", type=int, default=215)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    packages = asked.package or [here]
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / str(number) for number in range(len(packages))]
        for package, home in zip(packages, homes, strict=True):
            fabricate(package, home, asked.seeds)
            print(f"{package}: {len(METHODS) * asked.seeds:,} finished runs fabricated", flush=True)
        times: list[list[Timing]] = [[] for _ in packages]
        for number in range(asked.repeats + 1):
            for package, home, timings in zip(packages, homes, times, strict=True):
                timings.append(measure(package, home, asked.seeds))
                print(f"{package}, {number or 'caches made'}: {timings[-1]}", flush=True)
    for package, (_, *timings) in zip(packages, times, strict=True):
        print(f"{package}: says that all are finished after {spread([one.finished for one in timings])}")
        print(f"    the processor's seconds for that: {spread([one.processor for one in timings])}")
        print(f"    with the table: {spread([one.ended for one in timings])}")


if __name__ == "__main__":
    main()
