"""Runs on several Ray nodes: one dies, the driver dies, one has no data, one has other versions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.commands import command, plugin, program
from support.data_plugins import READS_A_FILE
from support.ray_nodes import NODE, PATIENCE, Nodes, num_stages, numbers, ray_nodes, the_record, wait_for

from plastibench.store.run_store import Store

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

SETTINGS = ("stages=4", "max_epochs=1", "width=4", "train_size=130")
SLOW = f"""
def before_stage(self, learner):
    import os, time
    from pathlib import Path
    Path({{mark!r}}).write_text(os.environ.get({NODE!r}, ""))
    time.sleep(2.0)
"""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with ray_nodes("first", "second") as made:
        yield made


def words(folder: Path, file: Path, *more: object) -> list[object]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    names = (
        "--plugin",
        file,
        "--method",
        "mine",
        "--task",
        "digits",
        "--seeds",
        1,
        "--checkpoint-interval",
        0,
    )
    return ["run", *names, *settings, "--home", folder / "home", "--threads", 1, "--no-mlflow", *more]


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program(*arguments), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=folder
    )


@pytest.mark.parametrize("storage", ["home", "storage"])
def test_a_run_goes_on_from_its_checkpoint_on_another_node(
    storage: str, nodes: Nodes, tmp_path: Path
) -> None:
    file = plugin(tmp_path, "mine", SLOW.format(mark=str(tmp_path / "mark")))
    more = ("--checkpoint-storage", tmp_path / "states") if storage == "storage" else ()
    ray = ("--executor", "ray", "--address", nodes.address, *more)
    process = started(tmp_path, *words(tmp_path, file, *ray))
    wait_for(lambda: num_stages(tmp_path / "home") >= 2, process)
    first = (tmp_path / "mark").read_text()
    nodes.kill(first)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "; it is tried again" in said
    assert (tmp_path / "mark").read_text() != first
    record = the_record(tmp_path / "home")
    assert [session["stage"] for session in record.provenance["sessions"]][1] >= 2
    assert command(*words(tmp_path / "alone", file, "--jobs", 1)).status == 0
    assert numbers(record) == numbers(the_record(tmp_path / "alone" / "home"))
    assert list(tmp_path.glob("**/checkpoint*.pt")) == []


def test_a_driver_that_is_killed_continues_when_it_is_started_again(nodes: Nodes, tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", SLOW.format(mark=str(tmp_path / "mark")))
    arguments = words(tmp_path, file, "--executor", "ray", "--address", nodes.address)
    process = started(tmp_path, *arguments)
    wait_for(lambda: num_stages(tmp_path / "home") >= 2, process)
    process.kill()
    process.communicate()
    _, said = started(tmp_path, *arguments).communicate(timeout=PATIENCE)
    record = the_record(tmp_path / "home")
    assert "resuming at stage" in said
    assert [session["stage"] for session in record.provenance["sessions"]][1] >= 2


def test_a_driver_that_is_interrupted_lets_runs_save_their_states(nodes: Nodes, tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", SLOW.format(mark=str(tmp_path / "mark")))
    arguments = words(tmp_path, file, "--executor", "ray", "--address", nodes.address)
    arguments[arguments.index("--checkpoint-interval") + 1] = "never"
    process = started(tmp_path, *arguments)
    wait_for(lambda: num_stages(tmp_path / "home") >= 2, process)
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert len(list(tmp_path.glob("home/runs/*/*/checkpoint.pt"))) == 1
    _, said = started(tmp_path, *arguments).communicate(timeout=PATIENCE)
    assert "resuming at stage" in said


def test_nodes_without_the_data_or_with_other_versions_are_named_and_the_rest_goes_on(
    nodes: Nodes, tmp_path: Path
) -> None:
    folder, other = tmp_path / "data", tmp_path / "other" / "torch-9.9.9.dist-info"
    folder.mkdir()
    torch.save(torch.arange(150 * 64).byte().view(150, 1, 8, 8), folder / "mine.pt")
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9\n")
    file = tmp_path / "mytask.py"
    file.write_text(READS_A_FILE)
    nodes.add("bare", PLASTIBENCH_DATA=str(tmp_path / "nowhere"))
    nodes.add("newer", PYTHONPATH=str(other.parent))
    settings = [word for setting in ("stages=2", "max_epochs=1", "width=4") for word in ("--set", setting)]
    arguments = ["run", "--plugin", file, "--task", "mytask", "--model", "small_resnet", "--method", "warm"]
    arguments += [*settings, "--seeds", 6, "--data", folder, "--home", tmp_path / "home", "--no-mlflow"]
    arguments += ["--executor", "ray", "--address", nodes.address]
    process = started(tmp_path, *arguments)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert len(list(Store(tmp_path / "home").records())) == 6
    assert said.count("executes no runs of task mytask: ") == 1, said
    assert f"{tmp_path}/nowhere" in said
    assert said.count("executes no runs: it has torch 9.9.9, and this machine has ") == 1, said
    for name in ("first", "second"):
        nodes.kill(name)
    done = started(tmp_path, *arguments, "--home", tmp_path / "again")
    _, said = done.communicate(timeout=PATIENCE)
    assert done.returncode == 1
    assert "failed: no node can execute it; node " in said
