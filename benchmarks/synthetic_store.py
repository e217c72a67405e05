"""Make a home folder of many fabricated runs, and time `plastibench table` on it.

    python benchmarks/synthetic_store.py --runs 10000 --home /tmp/synthetic

The store itself writes the runs, in the format of real ones with 10 stages each, but does not wait for the
disk. Each timing is of a whole process: cold, in which the index is made, and warm. Memory is the peak of the
process. The last line says whether all tables have the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.store.index.index_file import INDEX_FILE
from plastibench.store.run_store import Store
from plastibench.training.cost import Cost, PhaseCost

METHODS, SEEDS, STAGES = 20, 10, 10
TASK = {"buffer": None, "max_stages": None, "regime": "accumulate", "stages": STAGES, "validation": 0.0}
RECIPE = {
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "batch_size": 32,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "precision": "fp32",
    "schedule": "constant",
    "target_accuracy": 0.999,
    "max_epochs": 200,
    "max_steps": None,
    "augment": False,
}
ORIGIN = {
    "plastibench": "0.1.0",
    "commit": "0123456789ab",
    "python": "3.11.7",
    "torch": "2.14.1",
    "torchvision": "0.29.1",
    "numpy": "2.4.6",
    "platform": "Linux",
    "host": "nowhere",
    "device": "no processor, 2 cores",
    "threads": 1,
    "data": hashlib.sha256(b"nothing").hexdigest(),
}


def code(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def specs(runs: int) -> Iterator[Spec]:
    """Yield specs: 20 methods with 10 seeds each, in as many settings as needed."""
    for number in range(runs):
        setting, rest = divmod(number, METHODS * SEEDS)
        method, seed = divmod(rest, SEEDS)
        name = ("cold", "warm")[method] if method < 2 else f"method_{method:02}"
        yield Spec(
            task=Part(f"task_{setting:03}", TASK, code("task")),
            model=Part("small_resnet", {"blocks": 1, "width": 16}, code("model")),
            recipe=RECIPE,
            method=Part(name, {"strength": 0.5, "every": method}, code(name)),
            seed=seed,
            device="cpu",
            protocol=1,
        )


def rows(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield stages with the columns of real ones and numbers that depend on the spec alone."""
    draw = random.Random(spec.id)
    level = 0.6 + 0.002 * random.Random(spec.method.name).random() + 0.01 * draw.random()
    for index in range(STAGES):
        correct = round(600 * (level + 0.3 * (1 - math.exp(-index))))
        cost = Cost(
            steps=draw.randint(400, 900),
            samples=12800,
            train_passes=12800 + draw.randint(0, 999),
            evaluation_forwards=600,
            elementwise_flops=10**8,
            phases={
                "train": PhaseCost(flops=draw.randint(10**11, 10**12), seconds=draw.random()),
                "remedy": PhaseCost(seconds=draw.random() / 100),
                "evaluation": PhaseCost(flops=10**9, seconds=draw.random() / 10),
            },
        )
        yield {
            "index": index,
            "num_train": 120 * (index + 1),
            "num_new": 120,
            "epochs": draw.randint(3, 30),
            "stop": "target_accuracy",
            "train_accuracy": 1.0,
            "train_loss": draw.random(),
            "test_accuracy": correct / 600,
            "test_correct": correct,
            "num_test": 600,
            "test_loss": draw.random(),
            "validation_accuracy": None,
            "data": ORIGIN["data"],
            **cost.as_dict(),
        }


def make(home: Path, runs: int) -> None:
    """Write the missing runs."""
    os.fsync = lambda fd: None
    store = Store(home)
    store.prepare()
    for spec in specs(runs):
        if not (store.folder(spec.id) / "run.json").exists():
            with store.open(spec) as writer:
                for row in rows(spec):
                    writer.append(row)
                writer.finish("done", {**ORIGIN, "seconds": 1.0, "started": "2026-01-01T00:00:00+00:00"})


def time_table(home: Path, format: str) -> tuple[float, float, bytes]:
    """Return the seconds, the peak megabytes and the output of a process that prints a table."""
    command = [sys.executable, "-m", "plastibench", "table", "--home", str(home), "--format", format]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"plastibench table ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1024, out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--format", default="md")
    parser.add_argument("--repeats", type=int, default=3, help="warm timings; 0: only make the runs")
    options = parser.parse_args()
    start = time.perf_counter()
    make(options.home, options.runs)
    print(f"{options.runs:,} runs made in {time.perf_counter() - start:.0f} s", flush=True)
    if not options.repeats:
        return
    (options.home / INDEX_FILE).unlink(missing_ok=True)
    seconds, peak, first = time_table(options.home, options.format)
    print(f"cold: {seconds:.2f} s, {peak:,.0f} MB", flush=True)
    warm = [time_table(options.home, options.format) for _ in range(options.repeats)]
    times = [seconds for seconds, _, _ in warm]
    print(
        f"warm: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f}, n = {len(times)}), "
        f"{max(peak for _, peak, _ in warm):,.0f} MB; "
        f"index {(options.home / INDEX_FILE).stat().st_size / 1e6:,.0f} MB"
    )
    print(f"same bytes: {all(output == first for _, _, output in warm)}")


if __name__ == "__main__":
    main()
