"""Make a home folder of many finished runs that nobody trained, and time `plastibench table` on it.

    python benchmarks/synthetic_store.py --runs 10000 --home /tmp/synthetic

The runs are written by the store itself, in the format of real ones, 10 stages each; only that the disk has
them is not waited for. Each timing is of a process of its own, from its start to its end: cold, where the
index is made, and warm. The memory is the most that the process held. The last line says whether the tables
are the same bytes.
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
    """Yield descriptions: 20 methods with 10 seeds each, under as many settings as that takes."""
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
    """Yield stages with the fields of real ones and numbers that depend on the description alone."""
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
    """Write what is missing."""
    os.fsync = lambda fd: None
    store = Store(home)
    store.prepare()
    for spec in specs(runs):
        if not (store.folder(spec.id) / "run.json").exists():
            with store.open(spec) as attempt:
                for row in rows(spec):
                    attempt.append(row)
                attempt.finish("done", {**ORIGIN, "seconds": 1.0, "started": "2026-01-01T00:00:00+00:00"})


def table(home: Path, form: str) -> tuple[float, float, bytes]:
    """Return the seconds, the most megabytes and the output of a table in a process of its own."""
    words = [sys.executable, "-m", "plastibench", "table", "--home", str(home), "--format", form]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
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
    parser.add_argument("--repeats", type=int, default=3, help="warm timings; 0: make the runs, time nothing")
    asked = parser.parse_args()
    start = time.perf_counter()
    make(asked.home, asked.runs)
    print(f"{asked.runs:,} runs are there, made in {time.perf_counter() - start:.0f} s", flush=True)
    if not asked.repeats:
        return
    (asked.home / INDEX_FILE).unlink(missing_ok=True)
    seconds, most, first = table(asked.home, asked.format)
    print(f"cold: {seconds:.2f} s, {most:,.0f} MB", flush=True)
    warm = [table(asked.home, asked.format) for _ in range(asked.repeats)]
    times = [found[0] for found in warm]
    print(
        f"warm: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f}, n = {len(times)}), "
        f"{max(found[1] for found in warm):,.0f} MB; "
        f"index {(asked.home / INDEX_FILE).stat().st_size / 1e6:,.0f} MB"
    )
    print(f"the same bytes: {all(found[2] == first for found in warm)}")


if __name__ == "__main__":
    main()
