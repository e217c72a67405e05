"""Small real runs whose weights are all kept, so that laws can compare them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plastibench.devices import Device, get_device
from plastibench.plugins.fields import settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.task import DataContext, Task
from plastibench.seeding import derive_seed
from plastibench.store.checkpoint import pack, unpack
from plastibench.store.run_metrics import HARDWARE_DEPENDENT
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, StateDict, StopRequested, TrainingCallback
from plastibench.training.learner import Learner
from plastibench.training.protocol import StageResult

StageHook = Callable[[Method, Learner], None]
MakeMethod = Callable[[], Method]
"""A method's class, or `functools.partial(cls, setting=value)`."""


@dataclass(frozen=True)
class RunTrace:
    """The results of a run, and all weights and buffers after each stage."""

    results: list[StageResult] = field(default_factory=list)
    weights: list[dict[str, Tensor]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return the results without what depends on the clock or the hardware."""
        rows = [result.as_dict() for result in self.results]
        return [{k: v for k, v in row.items() if k not in HARDWARE_DEPENDENT} for row in rows]

    def first_stage(self) -> RunTrace:
        """Return the part of the first stage."""
        return RunTrace(self.results[:1], self.weights[:1])


def trace_run(
    task: Task,
    method: Method,
    seed: int = 0,
    device: Device | None = None,
    *,
    callback: TrainingCallback | None = None,
    checkpointer: Checkpointer | None = None,
    measures: protocol.Measures | None = None,
) -> RunTrace:
    """Run a method on a task that needs no data folder, and keep its weights.

    If `checkpointer` stops the run, the trace ends there.
    """
    trace = RunTrace()

    def keep_weights(method: Method, learner: Learner) -> None:
        state = method.evaluated(learner).state_dict()
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        trace.weights.append({name: value.detach().to("cpu", copy=True) for name, value in tensors.items()})

    context = data_context(device)
    hooked = hooked_after_stage(method, after=keep_weights)
    with suppress(StopRequested):
        results = protocol.run(
            task, hooked, seed, context, callback=callback, checkpointer=checkpointer, measures=measures
        )
        trace.results.extend(results)
    return trace


def whole_run(task: Task, method: Method, seed: int = 0) -> RunTrace:
    """Return the trace of a run on the CPU, made once for each task, class, settings and seed.

    Laws compare a run that they disturb with this one. It starts with torch's global generator in a state of
    its own. Do not change what it returns.
    """
    settings = tuple(settings_of(method).items())
    return _whole_run(task, type(method), settings, seed)  # type: ignore[arg-type]  # a class can be a key


@lru_cache(maxsize=256)
def _whole_run(task: Task, cls: type[Method], settings: tuple[tuple[str, Any], ...], seed: int) -> RunTrace:
    torch.manual_seed(derive_seed("whole run"))
    return trace_run(task, cls(**dict(settings)), seed)


def trace_interrupted_run(
    task: Task,
    make_method: MakeMethod,
    every: int,
    device: Device | None = None,
    measures: protocol.Measures | None = None,
) -> tuple[RunTrace, int]:
    """Run a method, interrupted at every `every`-th chance; return the trace and the number of interruptions.

    Each attempt has a new learner and a new method, and only the checkpoint of the one before: the bytes that
    would be in its file.
    """
    whole, saved = RunTrace(), None
    for interruptions in count():
        interrupter = _Interrupter(saved, every)
        part = trace_run(task, make_method(), device=device, checkpointer=interrupter, measures=measures)
        whole.results.extend(part.results)
        whole.weights.extend(part.weights)
        if interrupter.saved is saved:
            return whole, interruptions
        saved = interrupter.saved
    raise AssertionError("unreachable: the run ends")


class _Interrupter(Checkpointer):
    """Stops a run at the `every`-th chance to save its state."""

    def __init__(self, saved: memoryview | None, every: int) -> None:
        self.saved, self.left = saved, every

    def resume_state(self) -> StateDict | None:
        return None if self.saved is None else read_back(self.saved)

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        self.left -= 1
        return self.left == 0

    def save_state(self, state: StateDict) -> None:
        self.saved = pack("a-run", state)
        raise StopRequested


def read_back(saved: memoryview) -> StateDict:
    """Return the state in a checkpoint. Raises AssertionError if it holds something that cannot be read."""
    try:
        return unpack("a-run", saved)
    except Exception as error:  # torch raises anything
        raise AssertionError(f"the checkpoint cannot be read back: {error}") from error


def hooked_after_stage(
    method: Method, *, before: StageHook | None = None, after: StageHook | None = None
) -> Method:
    """Return a copy of a method that calls `before` and `after` around its own `after_stage`."""
    cls = type(method)

    def after_stage(self: Method, learner: Learner) -> object:
        if before is not None:
            before(self, learner)
        returned = cls.after_stage(self, learner)
        if after is not None:
            after(self, learner)
        return returned

    hooked = copy.copy(method)
    hooked.__class__ = type(cls.__name__, (cls,), {"after_stage": after_stage})
    return hooked


def data_context(device: Device | None = None) -> DataContext:
    """Return a context without a data folder."""
    nowhere = Path("no-data-needed")
    return DataContext(device=device or get_device("cpu"), data=nowhere, cache=nowhere)


def equal_weights(a: list[dict[str, Tensor]], b: list[dict[str, Tensor]]) -> bool:
    """Return whether two lists of weights are equal, bit for bit."""
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(a, b, strict=True)
    )
