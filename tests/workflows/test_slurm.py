"""The scripts for a Slurm cluster: what they say, and what shells and a real Slurm make of them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import CommandResult, command
from support.slurm import Slurm, lacks_slurm

from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.workflows.shards import write_costs

GRID = ("--task", "digits", "--method", "warm,cold", "--seeds", "0,3")
SETTINGS = {"stages": "2", "width": "4", "train_size": "130", "target_accuracy": "none"}


def sets(**settings: object) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def slurm(folder: Path, *words: object, seeds: bool = True) -> CommandResult:
    """Write the scripts for a small grid."""
    given = [*GRID, *sets(**SETTINGS)] if seeds else []
    return command("slurm", *given, "--home", folder / "home", "--output", folder / "scripts", *words)


def read(folder: Path, name: str) -> str:
    return (folder / "scripts" / name).read_text(encoding="utf-8")


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_the_array_has_what_was_asked_for_and_its_words_name_the_same_runs(tmp_path: Path) -> None:
    words = ("--array", 3, "--time", "1-02:00:00", "--concurrent", 2, "--partition", "g pu", "--gpus", 2)
    result = slurm(
        tmp_path, *words, "--cpus", 8, "--jobs", 4, "--sbatch=--mem=16G", "--setup", "module load cuda"
    )
    assert result.status == 0, result.err
    assert result.out == f"bash {tmp_path}/scripts/submit.sh\n"
    assert result.err == "4 runs in 3 tasks of at most 1-02:00:00\n"
    text = read(tmp_path, "array.sbatch")
    assert directives(text) == [
        "--job-name=plastibench-digits",
        "--array=1-3%2",
        "--time=1-02:00:00",
        f"--chdir={Path.cwd()}",
        f"--output={tmp_path}/scripts/task-%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--cpus-per-task=8",
        "--partition='g pu'",
        "--gpus-per-node=2",
        "--mem=16G",
    ]
    assert "\nmodule load cuda\n" in text
    (line,) = [line for line in text.splitlines() if " run --task" in line]
    assert "--method warm,cold --seeds 0-0,3-3 --set stages=2" in line
    assert line.endswith('--threads 2 --home "$home" --shard "$task/3" --jobs 4 --no-mlflow --no-estimate &')


def write_hours(folder: Path, *hours: float) -> Path:
    """Write known costs of the grid's runs."""
    grid = Grid(("digits",), ("warm", "cold"), seeds=(0, 3), settings=SETTINGS)
    runs = [spec.id for spec in grid.specs(Registry())]
    write_costs(folder / "hours.json", dict(zip(runs, (3600 * each for each in hours), strict=True)))
    return folder / "hours.json"


@pytest.mark.parametrize(
    ("hours", "words", "said"),
    [
        (
            (4, 0, 1, 1),
            ("--task-hours", 2),
            "4 runs in 3 tasks of at most 06:10:00, the longest of about 4 h",
        ),
        (
            (1, 1, 1, 1),
            ("--task-hours", 2),
            "4 runs in 2 tasks of at most 03:10:00, the longest of about 2 h",
        ),
        ((1, 1, 1, 1), ("--cpus", 2), "4 runs in 2 tasks of at most 01:40:00, the longest of about 60 min"),
        ((40, 1, 1, 1), ("--array", 9), "4 runs in 4 tasks of at most 2-12:10:00, the longest of about 40 h"),
        ((0, 0, 0, 0), (), "4 runs in 1 task of at most 00:10:00, the longest of about 0 s"),
    ],
)
def test_runs_are_grouped_by_what_they_take(
    hours: tuple[float, ...], words: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    result = slurm(tmp_path, "--costs", write_hours(tmp_path, *hours), *words)
    assert result.err.startswith(said), result.err
    assert f"--costs {tmp_path}/scripts/costs.json" in read(tmp_path, "array.sbatch")
    assert read(tmp_path, "costs.json") == (tmp_path / "hours.json").read_text()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("homes", ["shared", "each"])
def test_shellcheck_finds_nothing(homes: str, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    assert slurm(folder, "--array", 1, "--time", 30, "--homes", homes).status == 0
    for name in ("array.sbatch", "finish.sbatch", "submit.sh"):
        subprocess.run(["bash", "-n", folder / "scripts" / name], check=True)
        done = subprocess.run(
            ["shellcheck", folder / "scripts" / name], capture_output=True, text=True, check=False
        )
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--array", 2, "--time", "soon"), "time=soon is not allowed: write minutes, HH:MM:SS"),
        (("--array", 2, "--time", 30, "--sbatch", "mem=16G"), "write an option, such as --mem=16G"),
        (("--array", 2, "--time", 30, "--setup", "a\nb"), "has a line break"),
        (("--costs", "nowhere.json"), "costs nowhere.json cannot be read"),
        (("--device", "hpu"), "cannot be estimated here"),
        (("--array", 2, "--time", 30, "--account", "a\nb"), "has a line break"),
        (("--array", 2, "--time", 30, "--task-hours", "nan"), "task-hours=nan is not allowed"),
        (("--array", 2, "--time", 2), "notice=120 is not allowed with time=2: a task would stop when it"),
        (("--array", 2, "--time", "0-00:01", "--notice", 60), "write less than 60 seconds"),
        (("--array", 2, "--time", "5:00", "--notice", 301), "write less than 300 seconds"),
        (("--array", 2, "--time", "1:00:00", "--notice", 3600), "write less than 3600 seconds"),
    ],
)
def test_what_slurm_would_refuse_is_refused_in_one_line(
    words: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    result = slurm(tmp_path, *words)
    assert result.status == 2
    (line,) = result.lines()
    assert message in line
    assert not (tmp_path / "scripts").exists()


def test_a_limit_of_zero_is_none_and_a_percent_sign_in_a_path_is_that_of_the_path(tmp_path: Path) -> None:
    assert slurm(tmp_path / "100%a", "--array", 1, "--time", 0).status == 0
    assert f"--output={tmp_path}/100%%a/scripts/task-%a.log" in directives(
        read(tmp_path / "100%a", "array.sbatch")
    )


@pytest.mark.parametrize(
    ("words", "warns"), [((), True), (("--gpus", 1), False), (("--sbatch=--gres=gpu:1",), False)]
)
def test_runs_that_need_a_device_nobody_asks_for_are_warned_of(
    words: tuple[object, ...], warns: bool, tmp_path: Path
) -> None:
    result = slurm(tmp_path, "--array", 1, "--time", 30, "--device", "cuda", *words)
    assert result.status == 0
    assert ("the runs need cuda, and no line asks for one: give --gpus N" in result.err) is warns


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    reason = lacks_slurm()
    if reason is not None:
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


def wait(done: object, seconds: float = 240.0) -> None:
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)


def submit(cluster: Slurm, folder: Path) -> None:
    assert cluster.run("bash", f"{folder}/scripts/submit.sh").startswith("submitted ")


def records(folder: Path) -> list[Record]:
    return list(Store(folder / "home").records())


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("homes", ["shared", "each"])
def test_a_preempted_array_continues_and_its_table_follows(
    homes: str, cluster: Slurm, tmp_path: Path
) -> None:
    result = slurm(
        tmp_path, "--array", 2, "--time", 30, "--homes", homes, "--partition", "low", *sets(max_epochs=1000)
    )
    assert result.status == 0, result.err
    submit(cluster, tmp_path)
    wait(lambda: len(list(tmp_path.rglob("stages.jsonl"))) >= 2)
    urgent = tmp_path / "urgent.sh"
    urgent.write_text(f"#!/bin/bash\n#SBATCH --output={tmp_path}/urgent.log\nsleep 1\n", encoding="utf-8")
    cluster.run("sbatch", "--partition=high", "--cpus-per-task=2", str(urgent))
    cluster.wait_until_done(600)
    found = records(tmp_path)
    assert sorted((run.spec.method.name, run.spec.seed) for run in found) == [
        *(("cold", 0), ("cold", 3), ("warm", 0), ("warm", 3))
    ]
    assert any(len(run.provenance["sessions"]) == 2 for run in found)
    assert "requeue" in (cluster.folder / "slurmctld.log").read_text()
    assert "4 runs: 4 done" in read(tmp_path, "finish.log")
    assert (tmp_path / "home" / "leaderboards.json").exists()


@pytest.mark.slow
@pytest.mark.heavy
def test_a_task_at_its_time_limit_is_requeued_and_a_canceled_one_is_not(
    cluster: Slurm, tmp_path: Path
) -> None:
    slurm(
        tmp_path,
        "--array",
        1,
        "--time",
        1,
        "--notice",
        30,
        "--method",
        "warm",
        "--seeds",
        1,
        *sets(max_epochs=10**6),
    )
    submit(cluster, tmp_path)
    wait(lambda: "requeued, to continue" in (log(tmp_path)), 120)
    wait(lambda: "RUNNING" in cluster.states().values())
    wait(lambda: "resuming at stage 1" in log(tmp_path))
    num_requeued = log(tmp_path).count("requeued, to continue")
    cluster.run("scancel", "--user=root")
    wait(lambda: not cluster.states(), 90)
    store = Store(tmp_path / "home")
    (run,) = store.started_ids()
    assert (store.folder(run) / "checkpoint.pt").exists()
    assert log(tmp_path).count("requeued, to continue") == num_requeued
    assert log(tmp_path).rstrip().endswith("run the same command again to continue")


def log(folder: Path) -> str:
    path = folder / "scripts" / "task-1.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""
