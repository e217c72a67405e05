"""Runs in several processes: whatever becomes of one, the others go on, and the grid ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import child, plugin

from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.executors import processes
from plastibench.runner.executors.processes import _stop, _Worker, run_in_processes
from plastibench.runner.queue import Queue
from plastibench.store.record import Record
from plastibench.store.run_store import Store

SETTINGS = {"stages": "2", "max_epochs": "1", "width": "4", "train_size": "130"}

HOOKS = """
def start(self, learner):
    import os, signal, sys
    acts = {
        1: lambda: os.kill(os.getpid(), signal.SIGKILL),
        2: lambda: sys.exit(4),
        3: lambda: (_ for _ in ()).throw(KeyboardInterrupt),
    }
    acts.get(learner.seed, lambda: None)()
"""


class Notes(RunCallback):
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.seeds: dict[str, int] = {}

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.seeds[spec.id] = spec.seed
        self.told.append(("started", spec.seed))

    def on_epoch_end(self, run: str, where: dict[str, Any]) -> None:
        self.told.append(("epoch", self.seeds[run]))

    def on_stage_end(self, run: str, row: dict[str, Any]) -> None:
        self.told.append(("stage", self.seeds[run]))

    def on_run_end(self, record: Record) -> None:
        self.told.append(("finished", record.spec.seed))

    def on_run_error(self, spec: Spec, message: str) -> None:
        self.told.append(("failed", spec.seed))

    def on_log(self, spec: Spec, message: str) -> None:
        self.told.append((message, spec.seed))


def asked(tmp_path: Path, seeds: int) -> tuple[list[Spec], RunContext]:
    file = plugin(tmp_path, "mine", HOOKS)
    grid = Grid(("digits",), ("mine",), seeds=tuple(range(seeds)), settings=SETTINGS)
    place = RunContext(tmp_path / "home", tmp_path, tmp_path, "cpu", (file,), threads=1)
    return grid.specs(Registry((file,))), place


def test_process_that_dies_costs_its_own_run_and_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    specs, place = asked(tmp_path, 5)
    notes = Notes()
    failed = {spec.seed: reason for spec, reason in run_in_processes(specs, place, notes, jobs=2)}
    assert failed.keys() == {1, 2, 3}
    assert failed[1].startswith("its process was killed by SIGKILL")
    assert "batch_size" in failed[1]
    assert failed[2].startswith("SystemExit: 4 (mine.py")
    assert failed[3].startswith("KeyboardInterrupt")
    assert {seed for what, seed in notes.told if what == "failed"} == {1, 2, 3}
    assert [told for told in notes.told if told[1] == 4 and told[0] != "epoch"] == [
        ("started", 4), ("stage", 4), ("stage", 4), ("finished", 4),
    ]  # fmt: skip
    store = Store(place.home)
    assert [record.spec.seed for record in store.finished(specs)] == [0, 4]
    assert multiprocessing.active_children() == []
    assert capfd.readouterr().err == "", "a worker wrote to the user's terminal"


def test_process_that_cannot_prepare_itself_fails_its_runs_and_the_grid_ends(tmp_path: Path) -> None:
    specs, place = asked(tmp_path, 2)
    place.plugins[0].write_text("raise ValueError('edited meanwhile')\n")
    failed = run_in_processes(specs, place, Notes(), jobs=1)
    assert [spec.seed for spec, _ in failed] == [0, 1]
    assert all("edited meanwhile" in reason for _, reason in failed)


def test_process_that_died_while_idle_is_seen(tmp_path: Path) -> None:
    specs, place = asked(tmp_path, 1)
    worker = _Worker(place)
    try:
        assert worker.process.pid is not None
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join()
        worker.give(specs[0])  # no error here, though the pipe is broken
        assert worker.listen(Notes(), Queue([])) is not None
        assert worker.spec is None
    finally:
        worker.kill()


def test_process_ends_by_itself_when_its_parent_is_gone(tmp_path: Path) -> None:
    _, place = asked(tmp_path, 1)
    worker = _Worker(place)
    worker.pipe.close()
    worker.process.join(60)
    assert worker.process.exitcode == 0
    worker.kill()


def test_process_that_does_not_listen_is_stopped_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 1.0)
    _, place = asked(tmp_path, 1)
    worker = _Worker(place)
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    _stop([worker])
    assert not worker.process.is_alive()
    assert time.monotonic() - began < 30


def test_runs_side_by_side_may_decode_images_in_processes_of_their_own(
    tmp_path: Path, real_data: Path
) -> None:
    words = ["run", "--task", "imagenet", "--method", "cold,warm", "--seeds", "1", "--jobs", "2"]
    words += ["--model", "small_resnet", "--data", str(real_data), "--home", str(tmp_path), "--no-mlflow"]
    for setting in ("classes=16", "width=16", "max_epochs=1", "batch_size=16"):
        words += ["--set", setting]
    environment = {**os.environ, "PLASTIBENCH_DECODERS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "plastibench", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/*/*/run.json"))) == 2


READY = """
import sys
from pathlib import Path
from plastibench.runner.execute import Place, workshop
here = Path()
workshop(Place(here, here, here, "cpu"))
before = set(sys.modules)
import torch
torch.optim.SGD([torch.zeros(1)])
print(sorted(name for name in set(sys.modules) - before if name.startswith("torch")))
"""


def test_a_process_that_is_ready_has_imported_what_the_first_optimizer_needs() -> None:
    done = child("-c", READY)
    assert done.stdout == "[]\n", done.stderr
