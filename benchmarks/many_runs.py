"""What a run costs beside its training: a grid of many trivial runs, executed by the command's own code.

    python benchmarks/many_runs.py [--runs 1000] [--jobs 1,2] [--executor local,ray]

Printed are, for each number of processes, the milliseconds of a run that are neither training nor evaluation
nor the method's own work: reading the queue, making data and model, writing the record and the events. The
start of the processes, which import torch, is left out: it does not grow with the number of runs. With one
process the seconds of the processor are printed, too, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
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


class Clock(RunCallback):
    """Measures from the first end of a run, when all processes are there, to the last one."""

    def __init__(self, warm_up: int) -> None:
        """Leave out the first runs, at least one for each process."""
        self.warm_up, self.num_ended, self.start, self.processor = warm_up, 0, 0.0, 0.0
        self.trained, self.end, self.worked = 0.0, 0.0, 0.0

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


def overhead(num_runs: int, jobs: int, executor: str) -> tuple[float, float, float]:
    """Return the seconds of a run beside its training, in training, and of this process for all of it."""
    with tempfile.TemporaryDirectory() as home:
        workspace = Workspace(home=Path(home), data=default_data(), cache=Path(home))
        context = RunContext(workspace, "cpu", threads=1, num_processes=jobs)
        grid = Grid(("digits",), ("warm",), seeds=tuple(range(num_runs + 10)), settings=TRIVIAL)
        clock = Clock(warm_up=10)
        choice = ExecutorChoice(name=executor, jobs=jobs)
        run_specs(grid.specs(context.registry), context, [clock], choice=choice)
        whole = clock.end - clock.start
        return (
            (jobs * whole - clock.trained) / num_runs,
            clock.trained / num_runs,
            clock.worked / num_runs,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", default="1,2")
    parser.add_argument("--executor", default="local", help="local, ray, or both")
    options = parser.parse_args()
    print(f"{options.runs:,} runs on {get_device('cpu').name()}, 1 thread")
    choices = itertools.product(map(int, options.jobs.split(",")), options.executor.split(","))
    for jobs, executor in choices:
        beside, trained, worked = overhead(options.runs, jobs, executor)
        own = (
            f", {1000 * worked:.1f} ms of this process's processor"
            if jobs == 1 or executor != "local"
            else ""
        )
        line = f"{1000 * beside:.1f} ms a run beside {1000 * trained:.1f} ms of training"
        print(f"{executor}, {jobs} at a time: {line}{own}", flush=True)


if __name__ == "__main__":
    main()
