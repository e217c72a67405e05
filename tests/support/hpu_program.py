"""Run methods on the stand-in for Gaudi and on the CPU; print as JSON what was equal and what was called."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from plastibench.devices import Cpu, get_device
from plastibench.errors import RequestError
from plastibench.plugins.image_task import ImageTask
from plastibench.plugins.method import Method
from plastibench.plugins.recipe_changes import trained_task
from plastibench.plugins.registry import Registry
from plastibench.runner.workspace import Workspace
from plastibench.testing.run_trace import equal_weights, trace_interrupted_run, trace_run
from plastibench.training.head import find_head
from plastibench.workflows import doctor
from support import fake_hpu
from support.tasks import LogRecorder, augmented, small_digits

ON_CONVOLUTIONS = ("warm", "shrink_perturb", "dash")
"""Methods that are run on a residual network too: its passes take several times longer here."""


class Contiguous(Cpu):
    """The CPU with the memory format used on Gaudi: another one rounds differently."""

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        return torch.contiguous_format


def measure(
    registry: Registry, every: int, optimizer: str, precision: str, model: str = "mlp_bn"
) -> dict[str, Any]:
    """Return what every so many methods did on the stand-in; in fp32 also if the CPU gives the same bits."""
    recipe = {"optimizer": optimizer, "precision": precision}
    task = small_digits(registry, model, recipe, train_size=50, stages=2)
    assert isinstance(task, ImageTask)
    names = registry.names("method")[::every] if model == "mlp_bn" else ON_CONVOLUTIONS
    classes = {name: registry.load("method", name) for name in names}
    return {name: measure_method(task_for(cls, task), cls) for name, cls in classes.items()}


def task_for(cls: type[Method], task: ImageTask) -> ImageTask:
    """Return the task, with the augmentation that one method switches on if it is that method."""
    return cast("ImageTask", augmented(task)) if cls().unsupported(task) else task


def interrupted(registry: Registry, every: int, optimizer: str) -> dict[str, bool]:
    """Return for every so many methods whether a run that is stopped and resumed has a whole one's bits."""
    digits = small_digits(registry, "mlp_bn", {"optimizer": optimizer}, train_size=50, stages=2)
    assert isinstance(digits, ImageTask)
    device, equal = get_device("hpu"), {}
    for name in registry.names("method")[::every]:
        cls = registry.load("method", name)
        task = task_for(cls, digits)
        whole = trace_run(task, cls(), device=device)
        parts, interruptions = trace_interrupted_run(task, cls, 3, device)
        equal[name] = interruptions > 0 and equal_weights(whole.weights, parts.weights)
    return equal


def measure_method(task: ImageTask, cls: type[Method]) -> dict[str, Any]:
    """Return what one method did."""
    with suppress(RequestError):  # it is looked up once, in a copy on the CPU
        find_head(cls().build(task), task.input_shape())
    fake_hpu.calls.clear()
    callback = LogRecorder()
    run = trace_run(task, cls(), device=get_device("hpu"), callback=callback)
    found = {
        "steps": sum(result.cost.steps for result in run.results),
        "passes": sum(result.cost.train_passes for result in run.results),
        "samples": sum(result.cost.samples for result in run.results),
        "epochs": sum(result.epochs for result in run.results),
        "stages": len(run.results),
        "logged": sum(len(result.logged) for result in run.results),
        "optimizer": trained_task(task, cls()).recipe.optimizer,
        "kept": sum(len(weights) for weights in run.weights),  # tensors that the trace copies to the CPU
        "calls": dict(fake_hpu.calls),
        "messages": sorted(set(callback.messages)),
    }
    if task.recipe.precision == "fp32":
        cpu = trace_run(task, cls(), device=Contiguous())
        found["equal"] = equal_weights(run.weights, cpu.weights) and run.rows() == cpu.rows()
    return found


def main(every: str, *recipes: str) -> None:
    """Measure each recipe, given as `optimizer-precision` or `optimizer-precision-model`.

    Runs with the optimizer of the first one are stopped and resumed, too.
    """
    fake_hpu.install()
    torch.set_num_threads(1)
    registry = Registry()
    with fake_hpu.FakeHpu():
        methods = {recipe: measure(registry, int(every), *recipe.split("-")) for recipe in recipes}
        stopped = interrupted(registry, 15 if int(every) > 1 else 1, recipes[0].split("-")[0])
        report = doctor.examine("hpu", Workspace(home=Path(), data=Path("no-data"))).facts
    print(json.dumps({"methods": methods, "stopped": stopped, "doctor": report}))


if __name__ == "__main__":
    main(*sys.argv[1:])
