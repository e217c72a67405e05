"""A small real run whose every weight is kept, for laws to compare."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from plastibench.devices import Device, get_device
from plastibench.plugins.method import Method
from plastibench.plugins.task import DataContext, Task
from plastibench.store.checkpoint import Checkpoint
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, StateDict, StopRequested, TrainingCallback
from plastibench.training.learner import Learner
from plastibench.training.protocol import StageResult


@dataclass(frozen=True)
class RunTrace:
    """What a run came to: its results, and all weights and buffers after each stage."""

    results: list[StageResult]
    weights: list[dict[str, Tensor]]

    def rows(self) -> list[dict[str, Any]]:
        """Return the results without what depends on the clock or the machine."""
        machine = ("seconds", "memory", "energy")
        rows = [result.as_dict() for result in self.results]
        return [{k: v for k, v in row.items() if not k.endswith(machine)} for row in rows]


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
    """Execute a whole run and keep its weights; its data set must be embedded in the package.

    If `checkpointer` stops the run, the trace is what came before.
    """
    trial = RunTrace([], [])
    inherited = method.after_stage

    def after_stage(learner: Learner) -> None:
        inherited(learner)
        state = method.evaluated(learner).state_dict()
        trial.weights.append({name: value.detach().to("cpu", copy=True) for name, value in state.items()})

    vars(method)["after_stage"] = after_stage
    try:
        results = protocol.run(
            task,
            method,
            seed,
            data_context(device),
            callback=callback,
            checkpointer=checkpointer,
            measures=measures,
        )
        trial.results.extend(results)
    except StopRequested:
        pass
    finally:
        del vars(method)["after_stage"]
    return trial


def trace_interrupted_run(
    task: Task,
    kind: Callable[[], Method],
    every: int,
    device: Device | None = None,
    measures: protocol.Measures | None = None,
) -> tuple[RunTrace, int]:
    """Carry out a run that is stopped again and again; return it, and how often it was stopped.

    Each piece has a new learner and a new method, and knows nothing but the file that the piece before left.
    """
    whole = RunTrace([], [])
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), "a-trial")
        for stops in count():
            checkpointer = _Stopping(checkpoint, every)
            piece = trace_run(task, kind(), device=device, checkpointer=checkpointer, measures=measures)
            whole.results.extend(piece.results)
            whole.weights.extend(piece.weights)
            if not checkpointer.stopped:
                return whole, stops
    raise AssertionError("a run without an end")


class _Stopping(Checkpointer):
    """Stops a run the `every`-th time that this would be possible."""

    def __init__(self, checkpoint: Checkpoint, every: int) -> None:
        self.checkpoint, self.left = checkpoint, every
        self.stopped = False

    def resume_state(self) -> StateDict | None:
        return self.checkpoint.read(_never)

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        self.left -= 1
        return self.left == 0

    def save_state(self, state: StateDict) -> None:
        self.checkpoint.write(state)
        self.stopped = True
        raise StopRequested


def _never(damage: str) -> None:
    raise AssertionError(damage)


def data_context(device: Device | None = None) -> DataContext:
    """Return a context without a data folder."""
    nowhere = Path("no-data-needed")
    return DataContext(device=device or get_device("cpu"), data=nowhere, cache=nowhere)


def equal_weights(a: list[dict[str, Tensor]], b: list[dict[str, Tensor]]) -> bool:
    """Return whether two lists of weights are equal, number for number."""
    return len(a) == len(b) and all(
        one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
        for one, two in zip(a, b, strict=True)
    )


@dataclass
class PassCounts:
    """Examples that went through whole models."""

    forward_backward: int = 0
    forward_only: int = 0


@contextmanager
def count_passes(num_classes: int) -> Iterator[PassCounts]:
    """Count, inside, the examples that reach the head of any model: an independent count of the cost.

    The head is taken to be the linear layer with `num_classes` outputs: no hidden layer of the
    task's model may have that width.
    """
    passes = PassCounts()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].is_meta:
            return  # nothing is computed there: the ledger traces a pass
        if isinstance(module, nn.Linear) and module.out_features == num_classes:
            if torch.is_grad_enabled():
                passes.forward_backward += len(inputs[0])
            else:
                passes.forward_only += len(inputs[0])

    handle = register_module_forward_pre_hook(hook)
    try:
        yield passes
    finally:
        handle.remove()
