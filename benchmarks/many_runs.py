"""What many runs cost beside their training: that of a trivial run, and what is lost with several at a time.

    python benchmarks/many_runs.py [--runs 1000] [--repeats 3] [--jobs 2] [--busy-runs 8] [--executor ray]

Two figures in one table, each with its median and its spread over the repetitions:

- overhead: the milliseconds of a trivial run that are neither training nor evaluation nor the method's own
  work (reading the queue, making data and model, writing the record and the events), one at a time and
  `--jobs` at a time. The start of the processes, which import torch, is left out: it does not grow with the
  number of runs. With one at a time the seconds of the processor are printed, too: a busy machine disturbs
  them less.
- efficiency: how much longer than ideal `--busy-runs` runs take that use a core each, `--jobs` at a time. The
  ideal is the sum of what the same runs take one after the other, divided by `--jobs`. The second figure
  includes the start of the processes; the first counts from the moment at which each has a run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from plastibench.devices import get_device
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.executors.choice import ExecutorChoice
from plastibench.runner.scheduler import run_specs
from plastibench.runner.workspace import Workspace, default_data
from plastibench.store.record import Record
from plastibench.store.run_metrics import total_cost

TRIVIAL = {"stages": "2", "max_steps": "1", "width": "1", "train_size": "8", "batch_size": "2"}
BUSY = {"stages": "2", "max_epochs": "8", "target_accuracy": "none", "width": "16", "train_size": "600"}
WARM_UP = 10
HEADER = "| figure | at a time | median | smallest to largest | n |"


class Clock(RunCallback):
    """Measures from a start, when all processes are there, to the last end of a run."""

    def __init__(self, warm_up: int, jobs: int) -> None:
        self.warm_up, self.jobs, self.num_started, self.num_ended = warm_up, jobs, 0, 0
        self.first, self.start, self.processor = time.perf_counter(), 0.0, 0.0
        self.trained, self.end, self.worked = 0.0, 0.0, 0.0

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.num_started += 1
        if self.num_started == self.jobs and not self.warm_up:
            self.start = time.perf_counter()

    def on_run_end(self, record: Record) -> None:
        self.num_ended += 1
        if self.num_ended == self.warm_up:
            self.start, self.processor = time.perf_counter(), time.process_time()
        elif self.num_ended > self.warm_up:
            self.trained += total_cost(record.stages)["seconds"] or 0.0
            self.end = time.perf_counter()
            self.worked = time.process_time() - self.processor

    def on_run_error(self, spec: Spec, message: str) -> None:
        raise RuntimeError(message)


def execute(settings: dict[str, str], num_runs: int, choice: ExecutorChoice, warm_up: int) -> Clock:
    """Execute runs in a home folder of their own."""
    jobs = choice.jobs or 1
    with tempfile.TemporaryDirectory() as home:
        workspace = Workspace(home=Path(home), data=default_data(), cache=Path(home))
        context = RunContext(workspace, "cpu", threads=1, num_processes=jobs)
        specs = Grid(("digits",), ("warm",), seeds=tuple(range(num_runs)), settings=settings).specs(
            context.registry
        )
        clock = Clock(warm_up, jobs)
        run_specs(specs, context, [clock], choice=choice)
        return clock


def overhead(num_runs: int, choice: ExecutorChoice) -> tuple[float, float]:
    """Return the milliseconds of a run beside its training, and those of this process's processor in all."""
    clock = execute(TRIVIAL, num_runs + WARM_UP, choice, WARM_UP)
    beside = (clock.jobs * (clock.end - clock.start) - clock.trained) / num_runs
    return 1000 * beside, 1000 * clock.worked / num_runs


def efficiency(num_runs: int, choice: ExecutorChoice) -> tuple[float, float]:
    """Return how long runs side by side take over the ideal, without and with the start of the processes."""
    alone = execute(BUSY, num_runs, replace(choice, jobs=1), 0)
    ideal = (alone.end - alone.start) / (choice.jobs or 1)
    together = execute(BUSY, num_runs, choice, 0)
    return (together.end - together.start) / ideal, (together.end - together.first) / ideal


def line(figure: str, jobs: int, values: Sequence[float], unit: str) -> str:
    """Return a line of the table."""
    low, high = min(values), max(values)
    digits = 2 if unit == "x" else 1
    return (
        f"| {figure} | {jobs} | {statistics.median(values):.{digits}f} {unit} "
        f"| {low:.{digits}f} to {high:.{digits}f} | {len(values)} |"
    )


def lines(num_runs: int, num_busy: int, choice: ExecutorChoice, repeats: int) -> Iterable[str]:
    """Yield the lines of the table, each as soon as it is measured."""
    yield from (HEADER, "|---|---:|---:|---:|---:|")
    jobs = choice.jobs or 1
    for at_a_time in (1, jobs):
        measured = [overhead(num_runs, replace(choice, jobs=at_a_time)) for _ in range(repeats)]
        yield line("a trivial run beside its training", at_a_time, [each[0] for each in measured], "ms")
        if at_a_time == 1:
            processor = [each[1] for each in measured]
            yield line("a trivial run, processor, training included", 1, processor, "ms")
    ratios = [efficiency(num_busy, choice) for _ in range(repeats)]
    yield line(f"{num_busy} busy runs over the ideal", jobs, [each[0] for each in ratios], "x")
    yield line("the same with the start of the processes", jobs, [each[1] for each in ratios], "x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="trivial runs")
    parser.add_argument("--busy-runs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--executor", default="local", help="local or ray")
    options = parser.parse_args()
    print(
        f"{options.runs:,} trivial and {options.busy_runs} busy runs on {get_device('cpu').name()}, 1 thread"
    )
    choice = ExecutorChoice(name=options.executor, jobs=options.jobs)
    for each in lines(options.runs, options.busy_runs, choice, options.repeats):
        print(each, flush=True)


if __name__ == "__main__":
    main()
