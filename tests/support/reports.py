"""Finished runs of methods and tasks that do not exist, in a home of their own: no training."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.training.cost import Cost

ORIGIN = {
    "device": "a chip",
    "torch": "2.11",
    "plastibench": "0.1",
    "commit": "abc",
    "data": "0123456789abcdef",
}
HOSTILE = "</script><script>alert(1)</script>$x$ \"'&amp;|`"


def a_spec_of(method: str, seed: int, task: str = "some_task", stages: int = 3, **recipe: Any) -> Spec:
    """Return the description of a run of plug-ins that do not exist."""
    return Spec(
        task=Part(task, {"stages": stages}, "t"),
        model=Part("some_model", {"width": 4}, "m"),
        recipe={"optimizer": "sgd", "learning_rate": 0.1, "precision": "fp32", **recipe},
        method=Part(method, {"strength": 1.0}, "c"),
        seed=seed,
        device="cpu",
        protocol=1,
    )


def a_run(method: str, seed: int, task: str = "some_task", stages: int = 3, **more: Any) -> Record:
    """Return a run whose numbers depend on its names and seed alone."""
    draw = random.Random(f"{method} {task} {seed}")
    spec = a_spec_of(method, seed, task, stages, **more)
    level = 0.5 + 0.02 * random.Random(method).random()
    rows = [_stage(index, level + 0.2 * (1 - math.exp(-index)), draw) for index in range(stages)]
    return Record(spec, "done", rows, dict(ORIGIN))


def _stage(index: int, level: float, draw: random.Random) -> dict[str, Any]:
    cost = Cost(steps=draw.randint(50, 90), samples=6400, train_passes=6400)
    cost.phases["train"].seconds = draw.random()
    return {
        "index": index,
        "test_accuracy": level + draw.gauss(0, 0.01),
        "train_loss": draw.random(),
        "epochs": draw.randint(3, 9),
        "stop": "target_accuracy",
        **cost.as_dict(),
    }


def a_home(folder: Path, records: Iterable[Record]) -> Path:
    """Write runs as the program does."""
    store = Store(folder)
    store.prepare()
    for record in records:
        with store.open(record.spec) as attempt:
            for stage in record.stages:
                attempt.append(stage)
            attempt.finish(record.status, record.provenance)
    return folder


def some_runs(seeds: int = 3, methods: Iterable[str] = ("warm", "cold", "mine"), **more: Any) -> list[Record]:
    """Return runs of one setting."""
    return [a_run(method, seed, **more) for seed in range(seeds) for method in methods]
