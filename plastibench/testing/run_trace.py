"""Small real runs whose weights are all kept, so that laws can compare them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from plastibench.store.run_metrics import HARDWARE_DEPENDENT
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, StateDict, StopRequested, TrainingCallback
from plastibench.training.learner import Learner
from plastibench.training.protocol import StageResult

StageHook = Callable[[Learner], None]


@dataclass(frozen=True)
class RunTrace:
    """The results of a run, and all weights and buffers after each stage."""

    results: list[StageResult] = field(default_factory=list)
    weights: list[dict[str, Tensor]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return the results without what depends on the clock or the hardware."""
        rows = [result.as_dict() for result in self.results]
        return [{k: v for k, v in row.items() if not k.endswith(HARDWARE_DEPENDENT)} for row in rows]


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

    def keep_weights(learner: Learner) -> None:
        state = method.evaluated(learner).state_dict()
        trace.weights.append({name: value.detach().to("cpu", copy=True) for name, value in state.items()})

    context = data_context(device)
    with hooked_after_stage(method, after=keep_weights):
        try:
            results = protocol.run(
                task,
                method,
                seed,
                context,
                callback=callback,
                checkpointer=checkpointer,
                measures=measures,
            )
            trace.results.extend(results)
        except StopRequested:
            pass
    return trace


def trace_interrupted_run(
    task: Task,
    make_method: Callable[[], Method],
    every: int,
    device: Device | None = None,
    measures: protocol.Measures | None = None,
) -> tuple[RunTrace, int]:
    """Run a method, interrupted at every `every`-th chance; return the trace and the number of interruptions.

    Each attempt has a new learner and a new method, and only the checkpoint file of the one before.
    """
    whole = RunTrace()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), "a-run")
        for interruptions in count():
            interrupter = _Interrupter(checkpoint, every)
            part = trace_run(task, make_method(), device=device, checkpointer=interrupter, measures=measures)
            whole.results.extend(part.results)
            whole.weights.extend(part.weights)
            if not interrupter.interrupted:
                return whole, interruptions
    raise AssertionError("unreachable: the run ends")


class _Interrupter(Checkpointer):
    """Stops a run at the `every`-th chance to save its state."""

    def __init__(self, checkpoint: Checkpoint, every: int) -> None:
        self.checkpoint, self.left = checkpoint, every
        self.interrupted = False

    def resume_state(self) -> StateDict | None:
        return self.checkpoint.read(_fail)

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        self.left -= 1
        return self.left == 0

    def save_state(self, state: StateDict) -> None:
        self.checkpoint.write(state)
        self.interrupted = True
        raise StopRequested


def _fail(message: str) -> None:
    raise AssertionError(message)


@contextmanager
def hooked_after_stage(
    method: Method, *, before: StageHook | None = None, after: StageHook | None = None
) -> Iterator[None]:
    """Call `before` and `after` around the method's own `after_stage`."""
    inherited = method.after_stage

    def after_stage(learner: Learner) -> None:
        for hook in (before, inherited, after):
            if hook is not None:
                hook(learner)

    method.after_stage = after_stage  # type: ignore[method-assign]
    try:
        yield
    finally:
        method.after_stage = inherited  # type: ignore[method-assign]


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


@dataclass
class PassCounts:
    """Examples that went through whole models."""

    forward_backward: int = 0
    forward_only: int = 0


@contextmanager
def count_passes(num_classes: int) -> Iterator[PassCounts]:
    """Count the examples that reach the head of any model: an independent count of the cost.

    The head is taken to be the linear layer with `num_classes` outputs, so no hidden layer of the
    task's model may have that width.
    """
    passes = PassCounts()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        is_head = isinstance(module, nn.Linear) and module.out_features == num_classes
        if not is_head or inputs[0].is_meta:  # FLOPs are traced on the meta device, where nothing is computed
            return
        if torch.is_grad_enabled():
            passes.forward_backward += len(inputs[0])
        else:
            passes.forward_only += len(inputs[0])

    handle = register_module_forward_pre_hook(hook)
    try:
        yield passes
    finally:
        handle.remove()
