"""What threads cost and gain: training steps with 1 and with N threads, on an idle and on a busy machine.

    python benchmarks/threads.py [--threads 2] [--busy 0,1,3] [--seconds 10] [--models small_resnet,resnet18]

Every measurement is a process of its own, since the wait policy is read when torch is loaded, pinned to as
many cores as there are threads; busy processes spin on the same cores. The order alternates, so that a drift
of the machine meets all of them. Printed is the time of a step relative to one thread's of the same round.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

from plastibench.system.cpu import BRIEF_WAIT

POLICIES = {"spin": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "brief": BRIEF_WAIT}
"""What is set: nothing, which lets threads spin; to sleep at once; and what the command line sets."""


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    model: str
    threads: int
    policy: str


def child(model: str, threads: int, seconds: float) -> None:
    """Print how long a training step takes."""
    import torch

    from plastibench.devices import get_device
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.registry import Registry
    from plastibench.profiling.throughput import make_train_step, random_images, train_epoch

    torch.set_num_threads(threads)
    batch_size = 32 if model == "small_resnet" else 128
    architecture = Registry().load("model", model)()
    task = random_images(architecture, Recipe(batch_size=batch_size), num_images=4 * batch_size)
    step = make_train_step(task, get_device("cpu"))
    train_epoch(step)
    start, epochs = perf_counter(), 0
    while perf_counter() - start < seconds or not epochs:
        train_epoch(step)
        epochs += 1
    print(json.dumps((perf_counter() - start) / (4 * epochs)))


def measured(case: Case, cores: set[int], seconds: float) -> float:
    """Return the seconds of a step, measured in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    words = [sys.executable, __file__, "--child", case.model, str(case.threads), str(seconds)]
    os.sched_setaffinity(0, cores)
    done = subprocess.run(
        words, env=environment | POLICIES[case.policy], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout))


@contextmanager
def busy(count: int, cores: set[int]) -> Iterator[None]:
    """Keep the cores busy with so many processes."""
    os.sched_setaffinity(0, cores)
    processes = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


def rounds(options: argparse.Namespace, num_busy: int, cores: set[int]) -> dict[Case, list[float]]:
    """Return the seconds of a step of each case, in every round."""
    cases = [Case(model, 1, "brief") for model in options.models.split(",")]
    cases += [
        Case(model, options.threads, policy) for model, policy in product(options.models.split(","), POLICIES)
    ]
    found: dict[Case, list[float]] = {case: [] for case in cases}
    with busy(num_busy, cores):
        for number in range(options.rounds):
            for case in cases if number % 2 else reversed(cases):
                found[case].append(measured(case, cores, options.seconds))
    return found


def rows(found: dict[Case, list[float]], num_busy: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each case."""
    for case, times in found.items():
        one = found[Case(case.model, 1, "brief")]
        ratios = [time / base for time, base in zip(times, one, strict=True)]
        yield {
            **{"model": case.model, "busy": num_busy, "threads": case.threads, "waiting": case.policy},
            "ms": 1000 * statistics.median(times),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", default="0,1,3", help="numbers of other processes on the same cores")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a measurement, at least one epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="small_resnet,resnet18")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        model, threads, seconds = options.child
        child(model, int(threads), float(seconds))
        return
    cores = set(sorted(os.sched_getaffinity(0))[: options.threads])
    print(f"{'model':<16}{'busy':>5}{'threads':>8}  {'waiting':<8}{'ms a step':>10}   relative to one thread")
    for num_busy in map(int, options.busy.split(",")):
        for row in rows(rounds(options, num_busy, cores), num_busy):
            spread = f"{row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f})"
            line = f"{row['model']:<16}{row['busy']:>5}{row['threads']:>8}  {row['waiting']:<8}"
            print(json.dumps(row) if options.json else f"{line}{row['ms']:>10.1f}   {spread}", flush=True)


if __name__ == "__main__":
    main()
