"""Every file of a run's folder truncated, changed, deleted or swapped: reported, repeated, never trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import command
from support.damage import flipped, truncated
from support.faults import Trial, grid, run_completes, run_files, start_with_fault, wait_for_exit

from plastibench.store.run_store import Store

pytestmark = pytest.mark.heavy

ARGS = grid("warm", seeds=2)
FINISHED = ("spec.json", "stages.jsonl", "events.jsonl", "run.json")
UNFINISHED = (
    "spec.json",
    "stages.jsonl",
    "events.jsonl",
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "run.lock",
)


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def rewrite(path: Path, other: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return rewrite


def _exchanged(path: Path, other: Path) -> None:
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "cut": _rewritten(truncated),
    "emptied": _rewritten(lambda _: b""),
    "with a byte changed": _rewritten(flipped),
    "of noise": _rewritten(lambda content: bytes(255 - byte for byte in content)),
    "deleted": lambda path, _: path.unlink(),
    "exchanged with another run's": _exchanged,
}


SHORT = ("with a byte changed", "exchanged with another run's")
"""Those of the short suite; with --slow it has all."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "how" in metafunc.fixturenames:
        short = metafunc.config.getoption("--faults") == "short"
        marks = {how: [pytest.mark.slow] for how in DAMAGES if short and how not in SHORT}
        metafunc.parametrize("how", [pytest.param(how, marks=marks.get(how, [])) for how in DAMAGES])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished")
    assert command("run", "--no-mlflow", "--home", home, *ARGS).status == 0
    return home


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home of two runs that were killed in their second stage."""
    home = tmp_path_factory.mktemp("unfinished")
    for seed in (0, 1):
        args = [*ARGS, "--seeds", f"{seed}-{seed}"]
        fault: dict[str, object] = {"kill": [".checkpoint.pt"], "at": 61}
        status, stderr = wait_for_exit(start_with_fault(fault, "run", "--no-mlflow", "--home", home, *args))
        assert status < 0, stderr
    assert len(run_files(home, "checkpoint.previous.pt")) == 2
    return home


def damaged(home: Path, to: Path, file: str, how: str) -> Path:
    """Return a copy of a home in which a file of a run is damaged."""
    shutil.copytree(home, to)
    one, other = run_files(to, file)
    DAMAGES[how](one, other)
    return one


@pytest.mark.parametrize("file", FINISHED)
def test_finished_run_is_trusted_or_repeated(
    file: str, how: str, finished: Path, tmp_path: Path, trial: Trial
) -> None:
    home = tmp_path / "home"
    with trial(f"{file} of a finished run {how}"):
        path = damaged(finished, home, file, how)
        table = command("table", "--home", home, "--format", "json")
        assert "Traceback" not in table.err
        spoilt = file == "run.json" and how != "deleted"
        assert (table.status == 1, f"{path} is damaged" in table.err) == (spoilt, spoilt)
        again = run_completes(home, ARGS)
        assert (f"{path} is damaged" in again.err) == spoilt
        assert ("nothing to do" in again.err) == (file != "run.json")


@pytest.mark.parametrize("file", UNFINISHED)
def test_unfinished_run_resumes_from_what_is_undamaged(
    file: str, how: str, unfinished: Path, tmp_path: Path, trial: Trial
) -> None:
    home = tmp_path / "home"
    with trial(f"{file} of an unfinished run {how}"):
        path = damaged(unfinished, home, file, how)
        answer = run_completes(home, ARGS)
        fell_back = file == "checkpoint.pt" and how != "deleted"
        assert (f"{path} is damaged" in answer.err and "using the previous one" in answer.err) == fell_back
        assert answer.err.count("resuming at stage") == 2
        assert [record.provenance["attempts"] > 1 for record in Store(home).records()] != [False, False]


def test_run_without_an_undamaged_checkpoint_starts_over(
    unfinished: Path, tmp_path: Path, trial: Trial
) -> None:
    home = tmp_path / "home"
    with trial("both checkpoints of an unfinished run cut"):
        damaged(unfinished, home, "checkpoint.pt", "cut")
        damaged_too = run_files(home, "checkpoint.previous.pt")[0]
        damaged_too.write_bytes(truncated(damaged_too.read_bytes()))
        answer = run_completes(home, ARGS)
        assert "starting over" in answer.err
        assert answer.err.count("resuming at stage") == 1
