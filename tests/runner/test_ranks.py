"""Runs on several devices of this machine: one writes, all end together, and what is wrong is said."""

from __future__ import annotations

import multiprocessing
import socket
import time
from pathlib import Path

import pytest
from support.commands import PLAIN, command, plugin
from support.forked import ForkedProgram, forked_command

from plastibench.analysis.tables.run_notes import origin_notes
from plastibench.devices import Cuda, Hpu, get_device
from plastibench.distributed.launch import Launch
from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEvent, RunFailed
from plastibench.runner.executors.ranks import RankExecutor
from plastibench.runner.scheduler import run_specs
from plastibench.runner.workspace import Workspace
from plastibench.workflows.devices import check_devices
from plastibench.workflows.request import RunOptions
from plastibench.workflows.resources import device_of_parent

SETTINGS = {"stages": "2", "max_epochs": "2", "width": "4", "train_size": "70"}
HANGS = """
def start(self, learner):
    import time
    time.sleep(600)
"""
HOOKS = """
def before_stage(self, learner):
    import os, signal
    from pathlib import Path
    mark = Path({mark!r})
    if learner.seed == 1 and learner.ranks.rank == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if learner.seed == 2 and learner.ranks.rank == 1:
        raise OSError("no image 7.jpg")
    if learner.seed == 0 and learner.ranks.rank == 1 and not mark.with_name("hung").exists():
        mark.with_name("hung").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
"""


class Messages(RunCallback):
    """Callback that keeps what is said of the runs, and when each starts."""

    def __init__(self) -> None:
        self.logs: list[str] = []
        self.starts: list[float] = []

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.starts.append(time.monotonic())

    def on_log(self, spec: Spec, message: str) -> None:
        self.logs.append(message)


@pytest.mark.heavy
def test_runs_on_two_devices_survive_killed_and_hanging_processes_and_name_what_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_RANK_TIMEOUT", "15")
    file = plugin(tmp_path, "mine", HOOKS.format(mark=str(tmp_path / "killed")), PLAIN)
    grid = Grid(("digits",), ("mine",), models=("mlp_bn",), seeds=(0, 1, 2), settings=SETTINGS)
    workspace = Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,))
    context = RunContext(workspace, "cpu", threads=1, devices=2, checkpoint_interval=0.0)
    specs, messages = grid.specs(context.registry), Messages()
    (failure,) = run_specs(specs, context, [messages], retries=1)
    assert failure.spec.seed == 2
    assert failure.message.startswith("on device 1 (cpu): OSError: no image 7.jpg")
    hung = "rank 1 of 2 did not come to stage 2, epoch 1, step 1 within 15 s (PLASTIBENCH_RANK_TIMEOUT)"
    assert messages.logs[0] == f"{hung}; it is tried again"
    assert "on device 1 (cpu): its process was killed by SIGKILL" in messages.logs[1]
    assert messages.logs.count("resuming at stage 2, epoch 1") == 2
    first, second = context.store.finished(specs)
    assert [len(record.stages) for record in (first, second)] == [2, 2]
    assert first.provenance["devices"] == 2
    assert first.hardware.startswith("2 x ")
    assert "device 2 x " in origin_notes([first, second])[-1]
    assert multiprocessing.active_children() == []
    assert capfd.readouterr().err == ""


@pytest.mark.heavy
def test_a_run_that_ignores_its_time_limit_on_all_devices_is_killed(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", HANGS)
    grid = Grid(("digits",), ("mine",), models=("mlp_bn",), seeds=(0,), settings=SETTINGS)
    workspace = Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,))
    context = RunContext(workspace, "cpu", threads=1, devices=2, run_timeout=0.1)
    (spec,), events = grid.specs(context.registry), list[RunEvent]()
    with RankExecutor(context, overdue_seconds=2.9) as executor:
        executor.submit(spec)
        while not executor.has_capacity():
            executor.poll(events.append)
        assert multiprocessing.active_children() == []
    assert events[-1] == RunFailed(spec, "it did not stop at its time limit, and was killed after 3 s")


def refusal(tmp_path: Path, *words: object) -> str:
    common = ["run", "--task", "digits", "--seeds", "1", "--home", tmp_path, "--no-mlflow", "--devices", "2"]
    result = command(*common, *words)
    assert result.status == 2
    return result.err


def test_what_cannot_be_trained_on_several_devices_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "\n    needs_one_device = 'it sorts the batch'\n"
    file = plugin(tmp_path, "mine", "", PLAIN + head)
    reason = "Mine cannot be trained on several devices together: it sorts the batch"
    assert reason in refusal(tmp_path, "--method", "mine", "--plugin", file)
    warm = "--method", "warm"
    assert "batch_size=3 is too small for 2 devices" in refusal(tmp_path, *warm, "--set", "batch_size=3")
    assert "--jobs 2 is not allowed with 2 devices" in refusal(tmp_path, *warm, "--jobs", 2)
    assert "--devices" in refusal(tmp_path, *warm, "--devices", 0)
    monkeypatch.setenv("PLASTIBENCH_RANK_TIMEOUT", "soon")
    assert "PLASTIBENCH_RANK_TIMEOUT=soon is not allowed" in refusal(tmp_path, *warm)
    monkeypatch.delenv("PLASTIBENCH_RANK_TIMEOUT")
    with pytest.raises(RequestError, match="--compile is not allowed with 2 devices"):
        check_devices(get_device("cpu"), 2, RunOptions(compile=True), [], Registry())
    with pytest.raises(RequestError, match="devices=0 is not allowed: it must be 1 or more"):
        RunOptions(devices=0)
    assert "not allowed with --executor ray" in refusal(tmp_path, *warm, "--executor", "ray")


def test_a_named_device_is_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_device("cpu").names_of_ranks(3) == ["cpu"] * 3, "processes share the cores"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(RequestError, match="2 devices for a run are not allowed with device cuda:1"):
        Cuda(1).names_of_ranks(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with pytest.raises(RequestError, match=r"here is one such device \(CUDA_VISIBLE_DEVICES=0,3\)"):
        Cuda(1).names_of_ranks(3)


def test_a_card_that_one_process_can_use_is_left_to_those_of_the_runs() -> None:
    assert str(device_of_parent(Hpu(), 2)) == "cpu"
    for device, num_processes in ((Hpu(), 1), (Cuda(), 2)):
        assert device_of_parent(device, num_processes) is device


def test_what_torchrun_does_not_say_is_refused() -> None:
    said = {"MASTER_ADDR": "here", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert Launch.from_environment(said) == Launch(1, 2, 1, 2)
    assert (
        Launch.from_environment(
            {**said, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        )
        is None
    )
    for wrong in ({"RANK": "2"}, {"WORLD_SIZE": "two"}, {"LOCAL_RANK": "-1"}, {"LOCAL_WORLD_SIZE": "3"}):
        with pytest.raises(RequestError, match="are not what torchrun sets"):
            Launch.from_environment({**said, **wrong})


def torchrun(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> list[ForkedProgram]:
    """Start the two processes that torchrun would start."""
    common = ["run", "--task", "digits", "--model", "mlp_bn", "--seeds", 1, "--no-mlflow", *words]
    common += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    programs = []
    for rank in (0, 1):
        for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank, "GLOO_SOCKET_IFNAME": "lo"}.items():
            monkeypatch.setenv(name, str(value))
        programs.append(forked_command(*common, "--home", folder / f"home-{rank}"))
    return programs


@pytest.mark.heavy
def test_processes_of_torchrun_train_together_and_one_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = torchrun(tmp_path, monkeypatch, "--method", "warm")
    said = [program.communicate(timeout=300)[1] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], said
    assert "each on 2 devices" in said[0]
    assert said[1] == ""
    assert not (tmp_path / "home-1").exists()
    (record,) = Workspace(home=tmp_path / "home-0").store.records()
    assert record.provenance["devices"] == 2


@pytest.mark.heavy
def test_the_first_process_of_torchrun_ends_if_the_other_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_RANK_TIMEOUT", "10")
    hook = "def after_stage(self, learner):\n    import time\n    time.sleep(300 * learner.ranks.rank)"
    first, second = torchrun(
        tmp_path, monkeypatch, "--method", "mine", "--plugin", plugin(tmp_path, "mine", hook)
    )
    said = first.communicate(timeout=300)[1].splitlines()
    second.kill()
    second.communicate(timeout=60)
    assert first.returncode == 1
    assert said[-1] == (
        "plastibench: rank 1 of 2 did not come to stage 2, epoch 1, step 1 within 10 s "
        "(PLASTIBENCH_RANK_TIMEOUT); the same command continues"
    )
