"""Run methods on the stand-in for Gaudi and on the CPU; print as JSON what was equal and what was called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plastibench.devices import Cpu, get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.workspace import Workspace
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training import protocol
from plastibench.workflows import doctor
from support import fake_hpu
from support.tasks import LogRecorder, small_digits


class Contiguous(Cpu):
    """The CPU with the memory format used on Gaudi: another one rounds differently."""

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        return torch.contiguous_format


def measure(registry: Registry, optimizer: str, precision: str) -> dict[str, Any]:
    """Return what each method did on the stand-in; in fp32 also whether the CPU gives the same bits."""
    recipe = {"optimizer": optimizer, "precision": precision}
    task = small_digits(registry, recipe=recipe, train_size=50, stages=2)
    methods = {}
    for name in registry.names("method"):
        cls = registry.load("method", name)
        fake_hpu.calls.clear()
        callback = LogRecorder()
        results = list(protocol.run(task, cls(), 0, data_context(get_device("hpu")), callback=callback))
        methods[name] = {
            "steps": sum(result.cost.steps for result in results),
            "passes": sum(result.cost.train_passes for result in results),
            "samples": sum(result.cost.samples for result in results),
            "epochs": sum(result.epochs for result in results),
            "stages": len(results),
            "calls": dict(fake_hpu.calls),
            "messages": sorted(set(callback.messages)),
        }
        if precision == "fp32":
            methods[name]["equal"] = equals_cpu(task, cls)
    return methods


def equals_cpu(task: Task, cls: type[Method]) -> bool:
    """Return whether a run on the stand-in gives the weights and rows of one on the CPU."""
    on_hpu, on_cpu = (trace_run(task, cls(), device=device) for device in (get_device("hpu"), Contiguous()))
    return equal_weights(on_hpu.weights, on_cpu.weights) and on_hpu.rows() == on_cpu.rows()


def main(*recipes: str) -> None:
    """Measure each recipe, given as `optimizer-precision`."""
    fake_hpu.install()
    torch.set_num_threads(1)
    registry = Registry()
    with fake_hpu.FakeHpu():
        methods = {recipe: measure(registry, *recipe.split("-")) for recipe in recipes}
        report = doctor.examine("hpu", Workspace(home=Path(), data=Path("no-data")))
    print(json.dumps({"methods": methods, "doctor": report}))


if __name__ == "__main__":
    main(*sys.argv[1:])
