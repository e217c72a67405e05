"""Runs in several processes: if one dies, the others continue and the grid ends."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import PLAIN, child, plugin

from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEnded, RunEvent, RunLost
from plastibench.runner.executors.processes import ProcessExecutor, WorkerProcess
from plastibench.runner.scheduler import RunQueue, Scheduler, run_specs
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record
from plastibench.workflows.run_logger import RunLogger

pytestmark = pytest.mark.heavy

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


class Recorder(RunCallback):
    """Callback that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.calls.append(("start", spec.seed))

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        self.calls.append(("stage", spec.seed))

    def on_run_end(self, record: Record) -> None:
        self.calls.append(("end", record.spec.seed))

    def on_run_error(self, spec: Spec, message: str) -> None:
        self.calls.append(("error", spec.seed))


def specs_and_context(
    tmp_path: Path, seeds: int, num_processes: int = 1, head: str = ""
) -> tuple[list[Spec], RunContext]:
    file = plugin(tmp_path, "mine", HOOKS, head + PLAIN)
    grid = Grid(("digits",), ("mine",), seeds=tuple(range(seeds)), settings=SETTINGS)
    context = RunContext(
        Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,)),
        "cpu",
        threads=1,
        num_processes=num_processes,
    )
    return grid.specs(context.registry), context


def test_process_that_dies_costs_its_own_run_and_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    specs, context = specs_and_context(tmp_path, 5, num_processes=2)
    recorder = Recorder()
    failed = {failure.spec.seed: failure.message for failure in run_specs(specs, context, [recorder])}
    assert failed.keys() == {1, 2, 3}
    assert failed[1].startswith("its process was killed by SIGKILL")
    assert "batch_size" in failed[1]
    assert failed[2].startswith("SystemExit: 4 (mine.py")
    assert failed[3].startswith("KeyboardInterrupt")
    assert {seed for hook, seed in recorder.calls if hook == "error"} == {1, 2, 3}
    assert [hook for hook, seed in recorder.calls if seed == 4] == ["start", "stage", "stage", "end"]
    assert [record.spec.seed for record in context.store.finished(specs)] == [0, 4]
    assert multiprocessing.active_children() == []
    assert capfd.readouterr().err == "", "a worker wrote to the user's terminal"


KILLED_ONCE = """
def before_stage(self, learner):
    import os, signal
    from pathlib import Path
    mark = Path({mark!r})
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_run_whose_process_is_killed_is_tried_again_from_its_checkpoint(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", KILLED_ONCE.format(mark=str(tmp_path / "mark")))
    workspace = Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,))
    context = RunContext(workspace, "cpu", threads=1, checkpoint_interval=0.0)
    (spec,) = Grid(("digits",), ("mine",), seeds=(0,), settings=SETTINGS).specs(context.registry)
    recorder = Recorder()
    scheduler = Scheduler(ProcessExecutor(context), RunQueue([spec], 0.01), [recorder], retries=1)
    assert scheduler.run() == []
    assert [hook for hook, _ in recorder.calls] == ["start", "stage", "start", "stage", "stage", "end"]
    (first, second) = context.store.finished([spec])[0].provenance["sessions"]
    assert (first["stage"], second["stage"]) == (1, 2)


HANGS = """
def start(self, learner):
    import time
    time.sleep(600)
"""


def test_run_that_ignores_its_time_limit_is_killed(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", HANGS)
    workspace = Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,))
    context = RunContext(workspace, "cpu", threads=1, run_timeout=0.5)
    specs = Grid(("digits",), ("mine",), seeds=(0,), settings=SETTINGS).specs(context.registry)
    (failure,) = Scheduler(ProcessExecutor(context, overdue_seconds=5.5), RunQueue(specs), []).run()
    assert failure.message == "it did not stop at its time limit, and was killed after 6 s"


def test_workers_leave_the_signals_of_their_group_to_the_parent(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 1)
    with ProcessExecutor(context) as executor:
        (worker,) = executor.workers
        assert worker.process.pid is not None
        events: list[RunEvent] = []
        executor.submit(specs[0])
        while not executor.has_capacity():
            executor.poll(events.append)
            for sign in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                os.kill(worker.process.pid, sign)
    assert isinstance(events[-1], RunEnded)
    assert len(events) > 2


WARNING = """
def start(self, learner):
    import warnings
    warnings.warn("odd weights")
"""


def test_warning_of_several_processes_is_shown_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    grid = Grid(("digits",), ("odd",), seeds=(0, 1, 2), settings=SETTINGS)
    file = plugin(tmp_path, "odd", WARNING)
    context = RunContext(
        Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,)),
        "cpu",
        threads=1,
        num_processes=2,
    )
    assert run_specs(grid.specs(context.registry), context, [RunLogger()]) == []
    assert [record.message for record in caplog.records if "odd weights" in record.message] == [
        "UserWarning: odd weights"
    ]
    assert capfd.readouterr().err == ""


def test_a_plugin_that_is_edited_meanwhile_is_executed_as_it_was(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 1)
    (tmp_path / "mine.py").write_text("raise ValueError('edited meanwhile')\n")
    assert Scheduler(ProcessExecutor(context), RunQueue(specs), []).run() == []


IN_PARENT = "import multiprocessing\nassert multiprocessing.parent_process() is None, 'not in a child'\n"


def test_process_that_cannot_load_plugins_fails_its_runs_and_the_grid_ends(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 2, head=IN_PARENT)
    failures = Scheduler(ProcessExecutor(context), RunQueue(specs), []).run()
    assert [failure.spec.seed for failure in failures] == [0, 1]
    assert all("not in a child" in failure.message for failure in failures)


def test_process_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 1)
    with ProcessExecutor(context) as executor:
        (idle,) = executor.workers
        idle.process.kill()
        idle.process.join()
        executor.submit(specs[0])
        assert executor.workers != [idle]
        events: list[RunEvent] = []
        while not executor.has_capacity():
            executor.poll(events.append)
    assert isinstance(events[-1], RunEnded)


def test_process_that_died_just_before_it_got_a_run_fails_it(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 1)
    worker = WorkerProcess(context, grace_seconds=30.0)
    try:
        worker.process.kill()
        worker.process.join()
        worker.submit(specs[0])  # no error here, though the pipe is broken
        assert worker.receive() == RunLost(specs[0], worker.cause_of_death())
        assert worker.spec is None
    finally:
        worker.kill()


def test_process_ends_by_itself_when_its_parent_is_gone(tmp_path: Path) -> None:
    _, context = specs_and_context(tmp_path, 1)
    worker = WorkerProcess(context, grace_seconds=30.0)
    worker.connection.close()
    worker.process.join(60)
    assert worker.process.exitcode == 0
    worker.kill()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_process_that_cannot_be_started_leaves_no_pipe(tmp_path: Path) -> None:
    class Unsendable(RunContext):
        pass

    descriptors = Path("/proc/self/fd")
    _, context = specs_and_context(tmp_path, 1)
    WorkerProcess(context, grace_seconds=30.0).kill()  # starts the server that processes are forked from
    before = sorted(descriptors.iterdir())
    with pytest.raises((AttributeError, pickle.PicklingError)) as error:
        WorkerProcess(Unsendable(context.workspace, "cpu"), grace_seconds=30.0)
    assert sorted(descriptors.iterdir()) == before
    assert "Unsendable" in str(error.value)


def test_process_that_does_not_respond_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    specs, context = specs_and_context(tmp_path, 1)
    with ProcessExecutor(context, grace_seconds=1.0) as executor:
        (worker,) = executor.workers
        events: list[RunEvent] = []
        executor.submit(specs[0])
        while not events:  # from then on it handles SIGTERM, which otherwise ends even a stopped process
            executor.poll(events.append)
        assert worker.process.pid is not None
        os.kill(worker.process.pid, signal.SIGSTOP)
        start = time.monotonic()
    assert not worker.process.is_alive()
    assert 1.0 <= time.monotonic() - start < 30


@pytest.mark.slow
def test_runs_side_by_side_may_decode_images_in_processes_of_their_own(
    tmp_path: Path, real_data: Path
) -> None:
    words = ["run", "--task", "imagenet", "--method", "cold,warm", "--seeds", "1", "--jobs", "2"]
    words += ["--model", "small_resnet", "--data", str(real_data), "--home", str(tmp_path), "--no-mlflow"]
    for setting in ("classes=16", "resolution=32", "width=4", "max_epochs=1", "batch_size=16"):
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


INITIALIZED = """
import sys
from plastibench.runner.context import RunContext
from plastibench.runner.worker import init_worker
from plastibench.runner.workspace import Workspace
init_worker(RunContext(Workspace(), "cpu"))
before = set(sys.modules)
import torch
torch.optim.SGD([torch.zeros(1)])
print(sorted(name for name in set(sys.modules) - before if name.startswith("torch")))
"""


def test_an_initialized_worker_has_imported_what_the_first_optimizer_needs() -> None:
    done = child("-c", INITIALIZED)
    assert done.stdout == "[]\n", done.stderr
