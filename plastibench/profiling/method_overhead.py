"""What each method adds to the time of training, measured beside the baseline with the code that runs use."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from plastibench.devices import Device
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.task import DataContext
from plastibench.profiling.throughput import RandomImages
from plastibench.training import protocol
from plastibench.training.cost import Cost

REPEATS = 5
EPOCHS = 2
"""Of each stage."""


@dataclass(frozen=True)
class Spread:
    """A median over repeats, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of some numbers."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class MethodOverhead:
    """What a method costs beside the baseline in the second stage of a run."""

    method: str
    reason: str | None = None
    """Why it was not measured: it does not support the model."""
    step: Spread | None = None
    """Seconds of a training step, divided by those of the baseline's in the same repeat."""
    stage: Spread | None = None
    """Seconds of its work between stages, in training steps of the baseline."""
    flops: float | None = None
    """FLOPs of the stage, its own work included, divided by the baseline's; None if they are not known."""
    memory: float | None = None
    """Peak memory, divided by the baseline's; None if the device does not measure it."""


def measure_methods(
    methods: Mapping[str, Method],
    baseline: Method,
    task: RandomImages,
    device: Device,
    repeats: int = REPEATS,
) -> Iterator[MethodOverhead]:
    """Yield the overhead of each method, which takes turns with the baseline."""
    recipe = replace(task.recipe, target_accuracy=None, max_epochs=EPOCHS, max_steps=None)
    task = replace(task, recipe=recipe)
    _second_stage(task, baseline, device)  # the first run imports, allocates memory and chooses kernels
    for name, method in methods.items():
        try:
            _second_stage(task, method, device)
        except RequestError as error:
            yield MethodOverhead(name, reason=str(error))
            continue
        pairs = [[_second_stage(task, one, device) for one in (baseline, method)] for _ in range(repeats)]
        yield _overhead(name, pairs)


def _second_stage(task: RandomImages, method: Method, device: Device) -> Cost:
    return list(protocol.run(task, method, 0, DataContext(device, Path(), Path())))[-1].cost


def _overhead(name: str, pairs: Sequence[Sequence[Cost]]) -> MethodOverhead:
    last, own = pairs[-1]
    return MethodOverhead(
        method=name,
        step=Spread.of([_step_seconds(cost) / _step_seconds(plain) for plain, cost in pairs]),
        stage=Spread.of([cost.phases["remedy"].seconds / _step_seconds(plain) for plain, cost in pairs]),
        flops=_ratio(_flops(own), _flops(last)),
        memory=_ratio(own.peak_memory, last.peak_memory),
    )


def _step_seconds(cost: Cost) -> float:
    return cost.phases["train"].seconds / cost.steps


def _flops(cost: Cost) -> int | None:
    parts = [cost.phases[phase].flops for phase in ("train", "remedy")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _ratio(own: int | None, other: int | None) -> float | None:
    return None if own is None or not other else own / other
