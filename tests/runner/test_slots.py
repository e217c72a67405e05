"""Processes are spread over the devices, as many as their memory holds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from plastibench.devices import Cpu
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.slots import Slot, device_slots, fitting_processes
from plastibench.runner.workspace import Workspace
from plastibench.training.cost import COST_COLUMNS
from plastibench.workflows.request import RunOptions
from plastibench.workflows.resources import run_context

GIB = 2**30


class TwoCards(Cpu):
    """Two devices of 16 GiB that kernels of several processes cannot use at once."""

    process_memory = 2**29

    def names(self) -> list[str]:
        return ["card:0", "card:1"]

    def total_memory(self) -> int:
        return 16 * GIB

    def sharing_advice(self) -> str:
        return "start the sharing daemon"


def test_processes_are_dealt_out_over_the_devices() -> None:
    assert device_slots(TwoCards(), 3) == [Slot("card:0", 2), Slot("card:1", 1), Slot("card:0", 2)]
    assert device_slots(TwoCards(), 1) == [Slot("card:0", 1)]
    assert device_slots(Cpu(), 2) == [Slot("cpu", 2)] * 2


def test_as_many_runs_fit_as_memory_holds() -> None:
    assert fitting_processes(TwoCards(), 4 * GIB) == 2 * 3
    assert fitting_processes(TwoCards(), 4 * GIB - TwoCards.process_memory) == 2 * 3
    assert fitting_processes(TwoCards(), 3 * GIB) == 2 * 4
    assert fitting_processes(TwoCards(), 100 * GIB) == 2, "one on each: it will say what it lacks"
    assert fitting_processes(TwoCards(), None) is None


def some_specs(workspace: Workspace) -> list[Spec]:
    return Grid(("digits",), ("warm",), seeds=tuple(range(10))).specs(workspace.registry)


def finish(workspace: Workspace, spec: Spec, peak: int, threads: int = 1) -> None:
    row: dict[str, Any] = {**dict.fromkeys(COST_COLUMNS, 0), "test_accuracy": 0.5, "peak_memory": peak}
    row |= {"index": 0, "num_train": 100, "stop": "target_accuracy"}
    with workspace.store.open(spec) as writer:
        writer.append(row)
        writer.finish("done", {"device": Cpu().name(), "threads": threads, "seconds": 1.0})


def test_runs_that_do_not_fit_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace, options, device = Workspace(home=tmp_path), RunOptions(jobs=9, threads=1), TwoCards()
    specs = some_specs(workspace)
    with caplog.at_level(logging.INFO, logger="plastibench"):
        assert run_context(workspace, options, device, specs).num_processes == 9, "nothing is known yet"
        finish(workspace, specs[0], 9 * GIB, threads=7)  # on other hardware
        finish(workspace, specs[1], 7 * GIB)
        caplog.clear()
        assert run_context(workspace, options, device, specs[2:]).num_processes == 4
    assert caplog.messages == [
        f"4 runs at a time instead of 8: earlier runs took up to 7.0 of 16.0 GiB of {device.name()}",
        "start the sharing daemon",
    ]
