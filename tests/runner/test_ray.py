"""Runs on Ray: as in one process, through lost processes and nodes, past nodes that cannot execute them."""

from __future__ import annotations

import json
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from support.commands import PLAIN, command, plugin
from support.ray_nodes import numbers, ray_here

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.runner.context import RunContext
from plastibench.runner.executors.choice import ExecutorChoice
from plastibench.runner.executors.ray.cluster import Demand
from plastibench.runner.executors.ray.executor import RayExecutor
from plastibench.runner.executors.ray.task import RayTask
from plastibench.runner.remote_run import RemoteRun
from plastibench.runner.scheduler import run_specs
from plastibench.runner.workspace import Workspace
from plastibench.store.run_status import run_lock

SETTINGS = {"stages": "3", "max_epochs": "1", "width": "4", "train_size": "130"}
RAY = ExecutorChoice(name="ray")


def words(**settings: object) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.parametrize(
    ("device", "share", "runs_per_device", "options", "slots"),
    [
        ("cpu", None, 1, {"num_cpus": 2}, 4),
        ("cuda", None, 1, {"num_cpus": 2, "num_gpus": 1.0}, 2),
        ("cuda", 0.5, 2, {"num_cpus": 2, "num_gpus": 0.5}, 4),
        ("cuda", 0.35, 2, {"num_cpus": 2, "num_gpus": 0.35}, 4),
        ("cuda", 0.1, 10, {"num_cpus": 2, "num_gpus": 0.1}, 4),
        ("hpu", 1.0, 1, {"num_cpus": 2, "resources": {"HPU": 1.0}}, 3),
    ],
)
def test_fractions_never_add_up_to_more_than_a_device(
    device: str, share: float | None, runs_per_device: int, options: dict[str, Any], slots: int
) -> None:
    demand = Demand.of_run(RunContext(Workspace(), device, threads=2), share)
    assert demand.runs_per_device == runs_per_device
    assert demand.runs_per_device * demand.share <= 1
    assert demand.options() == options
    assert demand.slots({"CPU": 9.0, "GPU": 2.0, "HPU": 3.0}) == slots


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executor", "rai"), "no executor named 'rai'; did you mean 'ray'? (there are: local, ray)"),
        (("--address", "a:1"), "--address means nothing with --executor local: leave it out"),
        (("--device-share", 0.5), "--device-share means nothing with --executor local: leave it out"),
        (
            ("--executor", "ray", "--device-share", 0.5),
            "--device-share 0.5 is not possible on cpu: a run takes its thr",
        ),
        (
            ("--executor", "ray", "--device", "cuda", "--device-share", 1.5),
            "--device-share 1.5 must be from 0.01 to 1",
        ),
        (
            ("--executor", "ray", "--device", "hpu", "--device-share", 0.5),
            "--device-share 0.5 is not possible on hpu",
        ),
        (
            ("--executor", "ray", "--device", "cuda:1"),
            "device 'cuda:1': Ray chooses among devices; write cuda",
        ),
        (("--executor", "ray", "--device", "gpu"), "no device named 'gpu'"),
        (("--executor", "ray", "--address", "ray://a:1"), "Ray address 'ray://a:1' is not that of a cluster"),
        (("--executor", "ray", "--address", "head"), "Ray address 'head' is not HOST:PORT"),
        (("--executor", "ray", "--address", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1: "),
        (("--executor", "ray", "--address", "head:70000"), "Ray address 'head:70000' is not HOST:PORT"),
        (("--executor", "ray", "--address", "a..b:6379"), "no Ray cluster answers at a..b:6379: "),
        (
            ("--executor", "ray", "--device", "cuda", "--device-share", "nan"),
            "--device-share nan must be from 0.01 to 1",
        ),
        (
            ("--executor", "ray", "--device", "cuda", "--device-share", -0.5),
            "--device-share -0.5 must be from 0.01 to 1",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    few = words(**SETTINGS)
    result = command(
        "run", "--task", "digits", "--seeds", 1, *few, "--no-mlflow", "--home", tmp_path, *arguments
    )
    assert result.status == 2
    assert result.lines()[-1].removeprefix("plastibench: ").startswith(message), result.err


def test_a_server_that_is_not_a_head_is_refused_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        words = ("run", "--task", "digits", "--seeds", 1, "--no-mlflow", "--home", tmp_path)
        result = command(*words, "--executor", "ray", "--address", address)
        thread.join()
    assert result.status == 2
    assert f"what answers at {address} is not the head of a Ray cluster" in result.lines()[-1]


@pytest.mark.heavy
@pytest.mark.slow
def test_a_connection_that_cannot_be_used_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    context = RunContext(Workspace(home=tmp_path), "cpu", threads=1, checkpoint_storage=str(file))
    with pytest.raises(RequestError, match=r"Not a directory|File exists"), RayExecutor(context, RAY):
        pass
    import ray

    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def local_ray() -> Iterator[str]:
    with ray_here(num_cpus=1) as address:
        yield address


HOOKS = """
def before_stage(self, learner):
    import os, signal
    from pathlib import Path
    if learner.seed == STUMBLES and not Path({mark!r}).exists():
        Path({mark!r}).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if learner.seed == FAILS:
        raise ValueError("a mistake")
"""


@pytest.mark.heavy
def test_runs_are_those_of_one_process_and_only_lost_ones_are_tried_again(
    local_ray: str, tmp_path: Path
) -> None:
    helper = plugin(tmp_path, "helper", source="STUMBLES, FAILS = 1, 2\n")
    source = PLAIN.replace("from dataclasses", "from helper import FAILS, STUMBLES\nfrom dataclasses")
    file = plugin(tmp_path, "mine", HOOKS.format(mark=str(tmp_path / "mark")), source)
    workspace = Workspace(home=tmp_path / "home", data=tmp_path, cache=tmp_path, plugins=(file,))
    context = RunContext(workspace, "cpu", threads=1, checkpoint_interval=0.0)
    specs = Grid(("digits",), ("mine",), seeds=(0, 1, 2), settings=SETTINGS).specs(context.registry)
    file.unlink()  # its source travels, and that of its module
    helper.unlink()
    failures = run_specs(specs, context, retries=1, choice=RAY)
    assert [(failure.spec.seed, failure.message.partition(" (")[0]) for failure in failures] == [
        (2, "ValueError: a mistake")
    ]
    failed = json.loads((context.store.folder(specs[2].id) / "failed.json").read_text())
    assert 'raise ValueError("a mistake")' in failed["traceback"]
    first, second = context.store.finished(specs)
    sessions = second.provenance["sessions"]
    assert [session["stage"] for session in sessions] == [1, 2], "it did not go on from its checkpoint"
    assert second.provenance["attempts"] == 2
    alone = RunContext(
        Workspace(home=tmp_path / "alone", data=tmp_path, cache=tmp_path, plugins=workspace.registry.own),
        "cpu",
        threads=1,
    )
    assert run_specs(specs[:2], alone) == []
    assert [numbers(record) for record in (first, second)] == [
        numbers(record) for record in alone.store.finished(specs)
    ]
    assert not context.checkpoint(specs[0].id).exists()
    with pytest.raises(RequestError, match="uses the Ray cluster at"):
        run_specs(specs, context, choice=ExecutorChoice(name="ray", address="127.0.0.1:1"))


@pytest.mark.heavy
def test_a_run_that_cannot_be_handed_to_ray_or_canceled_is_released(local_ray: str, tmp_path: Path) -> None:
    context = RunContext(Workspace(home=tmp_path), "cpu", threads=1)
    specs = Grid(("digits",), ("warm",), seeds=(0, 1), settings=SETTINGS).specs(context.registry)
    folders = [context.store.folder(spec.id) for spec in specs]
    executor = RayExecutor(context, RAY)
    executor.__enter__()
    executor.submitter.demand = Demand(-1)
    with pytest.raises(ValueError, match="num_cpus"):
        executor.submit(specs[0])
    executor._tasks.append(RayTask(RemoteRun(specs[1], context), stream=None))
    with pytest.raises(TypeError):
        executor.stop()
    for folder in folders:
        with run_lock(folder):
            pass


SCRIPT = f"""{PLAIN}
    def before_stage(self, learner: Learner) -> None:
        from pathlib import Path
        learner.head.weight.mul_(HALF * float(Path("factor.txt").read_text()))


import plastibench

HALF = 0.5
result = plastibench.run(task="digits", methods=Mine, seeds=1, settings={SETTINGS}, home=HOME, executor="ray")
"""


@pytest.mark.heavy
def test_a_class_of_a_script_is_sent_as_source_and_paths_lead_from_where_it_is_started(
    local_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "factor.txt").write_text("0.5")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("HOME", repr(str(tmp_path / "home"))), encoding="utf-8")
    result = runpy.run_path(str(path), run_name="__main__")["result"]
    assert result.failures == {}
    (record,) = result.records
    assert record.spec.method.name == "mine"
