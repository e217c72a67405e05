"""The scheduler drives any executor, and runs that other processes execute come again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.stores import a_spec

from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunEvent, RunFailed, RunLocked, RunLost
from plastibench.runner.executors.base import Executor
from plastibench.runner.scheduler import RunQueue, Scheduler, run_specs
from plastibench.runner.worker import RunWorker
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record
from plastibench.store.run_status import get_status, run_lock
from plastibench.training.callbacks import EpochProgress


class Messages(RunCallback):
    """Callback that keeps what is logged."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, str]] = []
        self.failed: list[int] = []

    def on_log(self, spec: Spec, message: str) -> None:
        self.logged.append((spec.seed, message))

    def on_run_error(self, spec: Spec, message: str) -> None:
        self.failed.append(spec.seed)


class LockedTwice(Executor):
    """Two slots; every run is locked the first two times and fails the third time."""

    def __init__(self) -> None:
        self.submitted: list[Spec] = []
        self.running: list[Spec] = []
        self.stopped = False

    def has_capacity(self) -> bool:
        return len(self.running) < 2

    def submit(self, spec: Spec) -> None:
        assert self.has_capacity()
        self.submitted.append(spec)
        self.running.append(spec)

    def poll(self, emit: Emit) -> None:
        spec = self.running.pop(0)
        tries = self.submitted.count(spec)
        emit(RunLocked(spec, "process 7 on host") if tries < 3 else RunFailed(spec, "no idea"))

    def stop(self) -> None:
        self.stopped = True


def test_locked_runs_are_tried_again_and_reported_once() -> None:
    specs, executor, messages = [a_spec(seed) for seed in range(3)], LockedTwice(), Messages()
    failures = Scheduler(executor, RunQueue(specs, retry_seconds=0.01), [messages]).run()
    assert [failure.spec.seed for failure in failures] == messages.failed
    assert sorted(messages.failed) == [0, 1, 2]
    assert messages.logged == [
        (seed, "already running in process 7 on host; waiting for its result") for seed in range(3)
    ]
    assert len(executor.submitted) == 9
    assert executor.stopped


class LosesRuns(LockedTwice):
    """Loses the machine of every run."""

    def poll(self, emit: Emit) -> None:
        emit(RunLost(self.running.pop(0), "its machine is gone"))


def test_lost_runs_are_tried_again_as_often_as_is_allowed() -> None:
    executor, messages = LosesRuns(), Messages()
    queue = RunQueue([a_spec(seed) for seed in range(2)], retry_seconds=0.01)
    failures = Scheduler(executor, queue, [messages], retries=2).run()
    assert sorted(failure.spec.seed for failure in failures) == sorted(messages.failed) == [0, 1]
    assert {failure.message for failure in failures} == {"its machine is gone"}
    assert sorted(messages.logged) == sorted(
        (seed, "its machine is gone; it is tried again") for seed in (0, 0, 1, 1)
    )
    assert len(executor.submitted) == 6


def test_run_that_takes_too_long_stops_with_its_state_and_continues(tmp_path: Path) -> None:
    settings = {"stages": "2", "max_epochs": "2", "width": "4", "train_size": "130"}
    context = RunContext(
        Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu", threads=1, run_timeout=1e-9
    )
    specs = Grid(("digits",), ("warm",), seeds=(0,), settings=settings).specs(context.registry)
    (failure,) = run_specs(specs, context)
    assert failure.message.startswith("the time limit of a run (--run-timeout 1e-09) has passed")
    assert get_status(context.store, specs[0], "").state == "stopped"
    messages = Messages()
    assert run_specs(specs, replace(context, run_timeout=None), [messages]) == []
    assert messages.logged == [(0, "resuming at stage 1, epoch 1")]


def test_queue_returns_what_is_due_in_order() -> None:
    queue = RunQueue([a_spec(0), a_spec(1)], retry_seconds=60.0)
    first = queue.pop()
    assert first == a_spec(0)
    queue.retry_later(a_spec(0))
    assert queue.pop() == a_spec(1)
    assert queue.pop() is None
    assert len(queue) == 1


def test_every_callback_gets_every_event(tmp_path: Path) -> None:
    settings = {"stages": "2", "max_epochs": "1", "width": "4", "train_size": "130"}
    context = RunContext(Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu", threads=1)
    specs = Grid(("digits",), ("warm",), seeds=(0,), settings=settings).specs(context.registry)
    first, second = Counter(), Counter()
    assert run_specs(specs, context, [first, second]) == []
    assert first.hooks == second.hooks == ["start", "epoch 0", "stage 0", "epoch 1", "stage 1", "end"]


class Counter(RunCallback):
    """Callback that notes its hooks."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.hooks.append("start")

    def on_epoch_end(self, spec: Spec, epoch: EpochProgress) -> None:
        self.hooks.append(f"epoch {epoch.stage}")

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        self.hooks.append(f"stage {row['index']}")

    def on_run_end(self, record: Record) -> None:
        self.hooks.append("end")


def test_a_run_with_another_holder_is_released_by_its_worker(tmp_path: Path) -> None:
    context = RunContext(Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu", threads=1)
    (spec,) = Grid(("digits",), ("warm",), seeds=(0,)).specs(context.registry)
    events: list[RunEvent] = []
    with run_lock(context.store.folder(spec.id)):
        RunWorker(context).run(spec, events.append)
    (event,) = events
    assert isinstance(event, RunLocked)
    assert event.holder.startswith(f"process {os.getpid()} on ")


def test_a_run_continues_from_another_home_with_the_same_checkpoint_storage(tmp_path: Path) -> None:
    settings = {"stages": "2", "max_epochs": "2", "width": "4", "train_size": "130"}
    first = RunContext(
        Workspace(home=tmp_path / "first", data=tmp_path, cache=tmp_path),
        "cpu",
        threads=1,
        run_timeout=1e-9,
        checkpoint_storage=f"memory://{tmp_path.name}",
    )
    specs = Grid(("digits",), ("warm",), seeds=(0,), settings=settings).specs(first.registry)
    assert len(run_specs(specs, first)) == 1
    workspace = Workspace(home=tmp_path / "second", data=tmp_path, cache=tmp_path)
    messages = Messages()
    assert run_specs(specs, replace(first, workspace=workspace, run_timeout=None), [messages]) == []
    assert messages.logged == [(0, "resuming at stage 1, epoch 1")]
    assert not first.checkpoint(specs[0].id).exists()
